"""A real OpenLDAP server of the tests: slapd with a directory of its own, gone with the test."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeAlias

from cli.demo.throwaway import (
    Account,
    ReservedPort,
    ThrowawayDirectory,
    credentials,
    end_process,
    server_account,
)
from tests.support.certificates import Authority

Talk: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

BASE: Final = "dc=example,dc=net"
MANAGER: Final = f"cn=Manager,{BASE}"
MANAGER_PASSWORD: Final = "manager-secret"

_START_SECONDS = 15.0
_PROGRAM_PATH = (
    "/usr/sbin:/usr/lib/openldap:/usr/libexec:/usr/local/libexec:/opt/homebrew/opt/openldap/libexec"
)
_SCHEMAS = ("/etc/ldap/schema", "/etc/openldap/schema", "/opt/homebrew/etc/openldap/schema")

_CONFIGURATION: Final = """
include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
TLSCertificateFile {directory}/server.crt
TLSCertificateKeyFile {directory}/server.key
database ldif
directory {directory}/data
suffix "{base}"
rootdn "{manager}"
rootpw {password}
access to attrs=userPassword by anonymous auth
access to * by {readers} read
"""

_ROOT: Final = f"""dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example
"""


class SlapdFailed(RuntimeError):
    """slapd did not start; the text holds what it printed."""


class Slapd:
    """slapd on 127.0.0.1, at `port` and, with TLS from the first byte, at `ldaps_port`; StartTLS at `port`.

    Its tree is `BASE`; `entries` are LDIF below it (`person` writes one), and the manager may do everything.
    Without `anonymous` only who is bound may search. The certificate is for localhost and 127.0.0.1, signed
    by the authority in `ca_file`. Use it as a context manager. Raises SlapdFailed when it does not come up,
    FileNotFoundError when there is no slapd.
    """

    def __init__(self, entries: Sequence[str], *, anonymous: bool = True) -> None:
        self.port = 0
        self.ldaps_port = 0
        self._entries = entries
        self._readers = "*" if anonymous else "users"
        self._account: Account | None = None
        self._throwaway: ThrowawayDirectory | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._reserved: list[ReservedPort] = []

    @property
    def directory(self) -> Path:
        if self._throwaway is None:
            raise SlapdFailed("slapd was not started")
        return self._throwaway.path

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.crt"

    def start(self) -> None:
        """Fill the directory, start, and return when both ports take connections."""
        try:
            self._account = server_account()
            self._throwaway = ThrowawayDirectory("pooldeck-slapd-", self._account)
            self._prepare()
            self._reserved = [ReservedPort(), ReservedPort()]
            self.port, self.ldaps_port = (reserved.number for reserved in self._reserved)
            self._launch()
            if self._wait_ready():
                return
            raise SlapdFailed(f"slapd did not start:\n{self.log_text()}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        try:
            if self._process is not None:
                end_process(self._process)
        finally:
            self._process = None
            for reserved in self._reserved:
                reserved.close()
            if self._throwaway is not None:
                self._throwaway.guard(None)
                self._throwaway.close()
                self._throwaway = None

    def log_text(self) -> str:
        path = self.directory / "slapd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _prepare(self) -> None:
        """Configuration, certificate and tree."""
        authority = Authority()
        authority.write(self.directory, "ca")
        authority.issue("localhost", names=["localhost", "127.0.0.1"]).write(self.directory, "server")
        (self.directory / "data").mkdir()
        (self.directory / "slapd.conf").write_text(
            _CONFIGURATION.format(
                schemas=_schemas(),
                directory=self.directory,
                base=BASE,
                manager=MANAGER,
                password=MANAGER_PASSWORD,
                readers=self._readers,
            )
        )
        (self.directory / "tree.ldif").write_text("\n".join((_ROOT, *self._entries)))
        if self._account is not None:
            for path in self.directory.iterdir():
                os.chown(path, self._account.uid, self._account.gid)
        self._run("slapadd", "-l", "tree.ldif")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [find_slapd(program), "-f", "slapd.conf", *arguments],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            **credentials(self._account),
        )
        if done.returncode != 0:
            raise SlapdFailed(f"{program} failed:\n{done.stderr.decode(errors='replace')}")

    def _launch(self) -> None:
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.ldaps_port}"
        with (self.directory / "slapd.log").open("wb") as log:
            # A debug level, even none, keeps it in the foreground.
            self._process = subprocess.Popen(
                [find_slapd(), "-f", "slapd.conf", "-h", urls, "-d", "0"],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **credentials(self._account),
            )
        if self._throwaway is not None:
            self._throwaway.guard(self._process)

    def _wait_ready(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if _listens(self.port) and _listens(self.ldaps_port):
                return True
            time.sleep(0.02)
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def person(rdn: str, password: str, **attributes: str) -> str:
    """The LDIF of somebody below BASE (or below more RDNs, as in "uid=a,ou=b"), who may bind."""
    kind, _, value = rdn.partition(",")[0].partition("=")
    lines = {"sn": "S", "cn": "C", **attributes, "userPassword": password}
    if kind not in lines:
        lines[kind] = value
    rows = [_ldif("dn", f"{rdn},{BASE}"), "objectClass: inetOrgPerson", *map(_ldif, lines, lines.values())]
    return "\n".join(rows) + "\n"


def unit(name: str) -> str:
    """The LDIF of an organizational unit below BASE."""
    return f"dn: ou={name},{BASE}\nobjectClass: organizationalUnit\nou: {name}\n"


def find_slapd(program: str = "slapd") -> str:
    """The path of slapd, or of one of its tools; raises FileNotFoundError."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_PROGRAM_PATH}")
    if found is None:
        raise FileNotFoundError(f"no {program}")
    return found


def _schemas() -> str:
    for directory in _SCHEMAS:
        if Path(directory, "core.schema").exists():
            return directory
    raise FileNotFoundError("no schemas of slapd")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _ldif(name: str, value: str) -> str:
    """A line of LDIF, in base64 so that anything may stand in it."""
    return f"{name}:: {base64.b64encode(value.encode()).decode()}"


class HeldDirectory:
    """A directory at `port` that lets nothing through to the one at `target` before it is released.

    `connections` is how many have come so far. It is closed at the end of the `with`.
    """

    ldaps_port = 0

    def __init__(self, target: int) -> None:
        self.connections = 0
        self._target = target
        self._released = threading.Event()
        self._arrived = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]

    def wait_for(self, connections: int) -> None:
        """Return when so many more have come; raises AssertionError."""
        for _ in range(connections):
            assert self._arrived.acquire(timeout=20), "nobody asks the directory"

    def release(self) -> None:
        """From now on everything gets through."""
        self._released.set()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                self._arrived.release()
                threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        self._released.wait(50)
        with near, socket.create_connection(("127.0.0.1", self._target)) as far:
            back = threading.Thread(target=_pass_on, args=(far, near), daemon=True)
            back.start()
            _pass_on(near, far)
            back.join()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


# Directories that misbehave, each a callback of asyncio.start_server.


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def says_a_byte_now_and_then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x30\x84\x00\x00\xff\xff")
    while True:
        writer.write(b"\0")
        await asyncio.sleep(0.05)


async def says_too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x30\x84\x7f\xff\xff\xff" + bytes(2 << 20))


async def talks_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x30\x03\x02\x01\x01" * 100)


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def answers_another_question(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Says that a search was successful, when asked for a bind."""
    writer.write(_success(await reader.read(1000), b"\x65"))
    await reader.read()


async def starts_tls_and_lies_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Agrees to StartTLS, and puts a successful bind behind that, in the clear."""
    request = await reader.read(1000)
    writer.write(_success(request, b"\x78") + _success(request, b"\x61", later=1))
    await reader.read()


def _success(request: bytes, kind: bytes, later: int = 0) -> bytes:
    """A message of this kind that says success, to a request or to the one so many `later`."""
    message_id = int.from_bytes(request[4 : 4 + request[3]], "big") + later
    result = b"\x0a\x01\x00\x04\x00\x04\x00"
    return b"\x30\x0f\x02\x04" + message_id.to_bytes(4, "big") + kind + b"\x07" + result
