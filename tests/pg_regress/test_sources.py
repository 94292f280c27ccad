"""Where the scripts come from: what apt says, and what is taken out of an archive."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.pg_regress.sources import Package, SourcesMissing, choose_package, signed_by, unpack

_MADISON = """\
postgresql-15 | 15.20-0+deb12u1 | http://deb.debian.org/debian-security bookworm-security/main amd64 Packages
postgresql-15 | 15.18-0+deb12u1 | http://deb.debian.org/debian bookworm/main amd64 Packages
"""

_CONFIGURATION = """\
Types: deb
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
Signed-By: /keys/security.gpg

Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm
Signed-By: /keys/debian.gpg

# one line each
deb [arch=amd64 signed-by=/keys/pgdg.asc] https://apt.postgresql.org/pub/repos/apt/ bookworm-pgdg main
deb http://plain.example/debian bookworm main
"""


def test_the_package_is_that_of_the_server() -> None:
    package = choose_package(_MADISON, "15.18 (Debian 15.18-0+deb12u1)")
    assert package == Package("15.18-0+deb12u1", "http://deb.debian.org/debian bookworm main")


@pytest.mark.parametrize("version", ["15.19 (Debian 15.19-0+deb12u1)", "15.19"])
def test_without_it_the_newest_of_the_major_version_will_do(version: str) -> None:
    assert choose_package(_MADISON, version).version == "15.20-0+deb12u1"


def test_no_offer_means_that_a_source_tree_is_needed() -> None:
    with pytest.raises(SourcesMissing, match="name a source tree"):
        choose_package("", "17.10")


@pytest.mark.parametrize(
    ("site", "key"),
    [
        ("http://deb.debian.org/debian", "/keys/debian.gpg"),
        ("http://deb.debian.org/debian-security", "/keys/security.gpg"),
        ("https://apt.postgresql.org/pub/repos/apt", "/keys/pgdg.asc"),
        ("http://plain.example/debian", None),
    ],
)
def test_the_key_of_a_repository(site: str, key: str | None) -> None:
    assert signed_by(_CONFIGURATION, site) == key


def test_only_the_scripts_leave_the_archive(tmp_path: Path) -> None:
    names = ["src/test/regress/sql/a.sql", "src/test/isolation/specs/b.spec", "src/backend/main.c", "README"]
    outside = "src/test/regress/../../../../outside"
    with tarfile.open(tmp_path / "postgresql.tar.bz2", "w:bz2") as tar:
        for name in [*names, outside]:
            member = tarfile.TarInfo(f"postgresql-15.18/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    unpack(tmp_path / "postgresql.tar.bz2", tmp_path / "source")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".bz2"]
    assert {str(path.relative_to(tmp_path / "source")): path.read_text() for path in files} == {
        name: name for name in names[:2]
    }
