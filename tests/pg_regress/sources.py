"""PostgreSQL's test scripts: from a source tree, else the source package of the installed server, by apt.

Nothing is installed and root is not needed: apt works with lists and a cache of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

_SOURCE_LISTS = ("sources.list", "sources.list.d/*.list", "sources.list.d/*.sources")
_WANTED = re.compile(r"[^/]+/(src/test/(?:regress|isolation)/.+)")

# postgresql-15 | 15.18-0+deb12u1 | http://deb.debian.org/debian bookworm/main amd64 Packages
_OFFER = re.compile(r"^ *\S+ \| *(\S+) \| (\S+) (\S+)/([^/\s]+) \S+ Packages$", re.MULTILINE)

# The last line keeps apt from changing to an account that may not enter our directory.
_APT_CONFIG = """\
Dir::Etc::SourceList "{0}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "{0}/lists";
Dir::Cache "{0}/cache";
APT::Sandbox::User "root";
"""


class SourcesMissing(RuntimeError):
    """The suite cannot be had; the text says what is missing."""


@dataclass(frozen=True)
class Installation:
    """What an installed PostgreSQL says of itself."""

    bin: Path
    version: str
    """As the server prints it, e.g. `15.18 (Debian 15.18-0+deb12u1)`."""

    @classmethod
    def at(cls, bin_directory: Path) -> Installation:
        # Links to it, in /usr/local/bin say, have no pg_config beside them.
        server = (bin_directory / "postgres").resolve()
        answer = _output(server, "--version")
        return cls(server.parent, answer.removeprefix("postgres (PostgreSQL) "))

    def directory(self, name: str) -> Path:
        """What pg_config says of `name`, e.g. pkglibdir. Raises SourcesMissing when there is no pg_config."""
        return Path(_output(self.bin / "pg_config", f"--{name}"))

    def test_program(self, name: str) -> Path:
        """`regress/pg_regress`, say, as it is installed for extensions to use. Raises SourcesMissing."""
        program = self.directory("pgxs").parents[1] / "test" / name
        if not program.exists():
            raise SourcesMissing(f"there is no {program}")
        return program


@dataclass(frozen=True)
class Sources:
    """Where the scripts are (the tree's src/test) and the library of C functions that they load."""

    tests: Path
    library: Path


@dataclass(frozen=True)
class Package:
    """The version of a package that apt can get, and the line of sources.list that leads there."""

    version: str
    repository: str


def obtain(installation: Installation, source: Path | None, scratch: Path) -> Sources:
    """The suite from the tree `source`, or if that is None by apt; `scratch` takes what has to be made.

    Raises SourcesMissing.
    """
    apt = _Apt(installation.version, scratch / "apt")
    if source is None:
        source = scratch / "source"
        unpack(apt.source_archive(), source)
    tests = source / "src" / "test"
    if not (tests / "regress" / "sql").is_dir():
        raise SourcesMissing(f"{source} is not a source tree of PostgreSQL")
    library = tests / "regress" / "regress.so"
    if not library.exists():
        headers = installation.directory("includedir-server")
        if not (headers / "postgres.h").exists():
            headers = apt.headers()
        library = scratch / "regress.so"
        _compile(tests / "regress" / "regress.c", headers, library)
    return Sources(tests, library)


def unpack(archive: Path, target: Path) -> None:
    """Only the scripts and what belongs to them."""
    with tarfile.open(archive) as tar:
        for member in tar:
            wanted = _WANTED.fullmatch(member.name)
            content = tar.extractfile(member) if wanted and member.isfile() else None
            if wanted is None or content is None or ".." in Path(member.name).parts:
                continue
            path = target / wanted[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())


def choose_package(madison: str, server_version: str) -> Package:
    """What `apt-cache madison` offers: the server's own version, else the newest of its major version.

    Raises SourcesMissing when it offers nothing.
    """
    packaged = re.search(r"\(\S+ ([^)]+)\)", server_version)
    offers = [Package(line[1], f"{line[2]} {line[3]} {line[4]}") for line in _OFFER.finditer(madison)]
    if not offers:
        raise SourcesMissing("apt does not know where this PostgreSQL came from; name a source tree")
    same = [offer for offer in offers if packaged and offer.version == packaged[1]]
    return (same or offers)[0]


def signed_by(configuration: str, site: str) -> str | None:
    """The key file that apt's configuration names for `site`, in either of its two forms."""
    for entry in re.split(r"\n\s*\n|\n(?=deb\b)", configuration):
        key = re.search(r"signed-by\s*[:=]\s*(/[^\s\]]+)", entry, re.IGNORECASE)
        if key and re.search(re.escape(site.rstrip("/")) + r"/?(\s|$)", entry):
            return key[1]
    return None


class _Apt:
    def __init__(self, server_version: str, directory: Path) -> None:
        self._server_version = server_version
        self._directory = directory
        self._package: Package | None = None
        self._major = server_version.split(".")[0]

    def source_archive(self) -> Path:
        version = self._ready().version
        self._run("apt-get", "source", "--download-only", f"postgresql-{self._major}={version}")
        return self._found("*.orig.tar.*[!c]")

    def headers(self) -> Path:
        version = self._ready().version
        self._run("apt-get", "download", f"postgresql-server-dev-{self._major}={version}")
        archive = self._found("postgresql-server-dev-*.deb")
        self._run("dpkg-deb", "-x", archive.name, "dev")
        return self._found("dev/usr/include/postgresql/*/server")

    def _ready(self) -> Package:
        """Fetch the lists of the one repository that has the server's package."""
        if self._package is not None:
            return self._package
        for name in ("lists/partial", "cache/archives/partial"):
            (self._directory / name).mkdir(parents=True)
        offers = self._run("apt-cache", "madison", f"postgresql-{self._major}")
        package = choose_package(offers, self._server_version)
        key = signed_by(_apt_configuration(), package.repository.split()[0])
        option = f"[signed-by={key}] " if key else ""
        lines = [f"{kind} {option}{package.repository}\n" for kind in ("deb", "deb-src")]
        (self._directory / "sources.list").write_text("".join(lines))
        (self._directory / "apt.conf").write_text(_APT_CONFIG.format(self._directory))
        self._run("apt-get", "update")
        self._package = package
        return package

    def _run(self, *command: str) -> str:
        own = self._directory / "apt.conf"
        environment = {**os.environ, "LC_ALL": "C", **({"APT_CONFIG": str(own)} if own.exists() else {})}
        return _output(*command, cwd=self._directory, env=environment)

    def _found(self, pattern: str) -> Path:
        for path in sorted(self._directory.glob(pattern)):
            return path
        raise SourcesMissing(f"apt fetched no {pattern}")


def _apt_configuration() -> str:
    paths = [path for pattern in _SOURCE_LISTS for path in sorted(Path("/etc/apt").glob(pattern))]
    return "\n\n".join(path.read_text(errors="replace") for path in paths)


def _compile(source: Path, headers: Path, target: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        raise SourcesMissing("regress.c has to be compiled, and there is no C compiler")
    _output(compiler, "-O2", "-fPIC", "-shared", f"-I{headers}", "-o", target, source)


def _output(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Standard output, stripped. Raises SourcesMissing when the program is missing or fails."""
    try:
        done = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, check=True, cwd=cwd, env=env
        )
    except FileNotFoundError:
        raise SourcesMissing(f"there is no {command[0]}") from None
    except subprocess.CalledProcessError as error:
        words = " ".join(str(word) for word in command)
        raise SourcesMissing(f"{words} failed:\n{error.stdout}{error.stderr}") from None
    return done.stdout.strip()
