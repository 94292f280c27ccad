from collections.abc import Callable
from pathlib import Path

import pytest

from pooler.config.snapshot import ConfigErrors, Snapshot, load

Load = Callable[[str], Snapshot]
Complaints = Callable[[str], list[str]]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the test runs in, so that the files of a configuration have short names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def load_text(directory: Path) -> Load:
    """Load a text as the file a.ini; latin-1, so that any byte can be written."""

    def load_text(text: str) -> Snapshot:
        (directory / "a.ini").write_bytes(text.encode("latin-1"))
        return load("a.ini")

    return load_text


@pytest.fixture
def complaints(load_text: Load) -> Complaints:
    """The errors of a text that must not load."""

    def complaints(text: str) -> list[str]:
        with pytest.raises(ConfigErrors) as raised:
            load_text(text)
        return [str(error) for error in raised.value.errors]

    return complaints
