import importlib.metadata
import platform

import pytest

from pooler.service import version
from pooler.wire import framing


def test_first_line_names_the_pgbouncer_release() -> None:
    assert f"PgBouncer {version.PGBOUNCER_COMPATIBILITY}" == version.VERSION_LINE == "PgBouncer 1.25.2"


def test_details_name_what_runs() -> None:
    lines = version.details()
    assert lines[0] == f"pooldeck {version.pooldeck_version()}"
    assert lines[1] == f"Python {platform.python_version()}"
    assert lines[2] == f"uvloop {importlib.metadata.version('uvloop')}"


def test_version_of_a_tree_that_is_not_installed_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert version.pooldeck_version() == "unknown"


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("/x/framing.cpython-311-x86_64-linux-gnu.so", "compiled"),
        ("/x/framing.pyd", "compiled"),
        ("/x/framing.py", "interpreted"),
    ],
)
def test_details_say_whether_the_data_path_is_compiled(
    monkeypatch: pytest.MonkeyPatch, file: str, form: str
) -> None:
    monkeypatch.setattr(framing, "__file__", file)
    assert version.details()[-1] == f"data path: {form}"
    assert version.data_path_compiled() is (form == "compiled")
