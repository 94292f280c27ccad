"""Listening sockets, and the options of every socket that the pooler uses."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pooler.config.settings import Settings, word_list

if TYPE_CHECKING:
    from pooler.service.log import Log

DEFAULT_UNIX_SOCKET_DIR = "/tmp"
FIRST_PASSED_DESCRIPTOR = 3
"""Where sd_listen_fds(3) says that the sockets of a service manager start."""
_NO_ID = 0xFFFFFFFF


class ListenError(Exception):
    """The pooler cannot listen as it is told to; the text is ready for a FATAL log line."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that clients connect to.

    :ivar description: the address as the log writes it, ``127.0.0.1:6432`` or ``unix:/tmp/.s.PGSQL.6432``.
    :ivar file: the socket file that goes away with the socket, unless somebody has put another one there.
    """

    sock: socket.socket
    is_unix: bool
    description: str
    file: SocketFile | None = None

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        self.sock.close()
        if self.file is not None:
            self.file.remove()


class SocketFile(NamedTuple):
    """A unix socket in the file system, known by more than its name."""

    path: str
    device: int
    inode: int

    @classmethod
    def at(cls, path: str) -> SocketFile:
        status = os.lstat(path)
        return cls(path, status.st_dev, status.st_ino)

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            if SocketFile.at(self.path) == self:
                os.unlink(self.path)


class PeerCredentials(NamedTuple):
    """Who is at the other end of a unix socket."""

    pid: int
    uid: int
    gid: int


def open_listeners(settings: Settings, log: Log, environ: Mapping[str, str] = os.environ) -> list[Listener]:
    """Listen on every address of ``listen_addr`` and in ``unix_socket_dir``.

    An address that does not work is a warning as long as another one does; the unix socket has to work.
    Sockets that a service manager passed take the place of both settings.

    :raises ListenError: no address works, the unix socket does not, or there is nothing to listen on.
    """
    passed = passed_descriptors(environ)
    if passed:
        return _adopt(passed, settings, log)
    listeners: list[Listener] = []
    try:
        _listen(listeners, settings, log)
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def passed_descriptors(environ: Mapping[str, str] = os.environ) -> range:
    """Sockets that a service manager opened for this process (``LISTEN_PID``, ``LISTEN_FDS``)."""
    try:
        mine = int(environ.get("LISTEN_PID", "")) == os.getpid()
        count = int(environ.get("LISTEN_FDS", "")) if mine else 0
    except ValueError:
        count = 0
    return range(FIRST_PASSED_DESCRIPTOR, FIRST_PASSED_DESCRIPTOR + max(0, count))


def refuse_second_instance(settings: Settings, environ: Mapping[str, str] = os.environ) -> None:
    """Make sure that nobody answers on the unix socket that :func:`open_listeners` will replace.

    :raises ListenError: somebody does.
    """
    if not settings.unix_socket_dir or passed_descriptors(environ):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(unix_socket_address(settings.unix_socket_dir, settings.listen_port))
        except BlockingIOError:
            pass  # its queue is full: it is there, and busy
        except OSError:
            return
    raise ListenError("unix socket is in use, cannot continue")


def unix_socket_address(directory: str, port: int) -> str:
    """Where PostgreSQL and its clients put the socket of a port in a directory (``@name`` is abstract)."""
    path = f"{directory}/.s.PGSQL.{port}"
    return f"\0{path[1:]}" if path.startswith("@") else path


def tune_socket(sock: socket.socket, settings: Settings, is_unix: bool) -> None:
    """Set the options of a listening, client or server socket; the socket object of a transport will do.

    Applies ``tcp_keepalive``, ``tcp_keepidle`` and ``tcp_keepintvl`` (s), ``tcp_keepcnt``,
    ``tcp_user_timeout`` (ms) and ``tcp_socket_buffer`` (bytes); 0 leaves the kernel's value. A unix socket
    becomes non-blocking, no more.

    :raises OSError: the kernel refuses a value.
    """
    sock.setblocking(False)
    if is_unix:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1 if settings.tcp_keepalive else 0)
    if settings.tcp_keepalive:
        _set_if_given(sock, socket.TCP_KEEPIDLE, settings.tcp_keepidle)
        _set_if_given(sock, socket.TCP_KEEPINTVL, settings.tcp_keepintvl)
        _set_if_given(sock, socket.TCP_KEEPCNT, settings.tcp_keepcnt)
    _set_if_given(sock, socket.TCP_USER_TIMEOUT, settings.tcp_user_timeout)
    if settings.tcp_socket_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.tcp_socket_buffer)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, settings.tcp_socket_buffer)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def tune_accept(sock: socket.socket, defer: bool, log: Log) -> None:
    """Let a TCP listener hand over a connection only with its first data (``tcp_defer_accept``), or at once.

    Can be changed while listening. Where the kernel does not know it, that is a warning.
    """
    action = "install" if defer else "uninstall"
    log.noise(f"{action} TCP_DEFER_ACCEPT on {sock.fileno()}")
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, int(defer))
    except OSError as error:
        log.warning(f"tune_accept: {action} TCP_DEFER_ACCEPT: {error.strerror}")


def peer_credentials(sock: socket.socket) -> PeerCredentials:
    """Process, user and group that connected a unix socket, as the kernel vouches for them (SO_PEERCRED).

    :raises OSError: the socket is not a unix socket, or not connected.
    """
    if sock.family != socket.AF_UNIX:
        raise OSError(errno.ENOTSUP, "only a unix socket has peer credentials")
    layout = struct.Struct("=iII")
    ucred = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
    peer = PeerCredentials(*layout.unpack(ucred))
    # pid alone says nothing: it is 0 for a process of another pid namespace
    if peer.uid == _NO_ID:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
    return peer


def format_address(family: int, address: Any) -> str:
    """A socket address as PgBouncer writes it: ``1.2.3.4:5``, ``[::1]:5``, ``unix:/a/.s.PGSQL.5``."""
    if family == socket.AF_UNIX:
        path = os.fsdecode(address)
        return f"unix:@{path[1:]}" if path.startswith("\0") else f"unix:{path}"
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


def _set_if_given(sock: socket.socket, option: int, value: int) -> None:
    if value:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)


class _CannotListen(Exception):
    """One address does not work; whether that matters depends on the others."""


@contextlib.contextmanager
def _step(name: str, address: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _CannotListen(f"cannot listen on {address}: {name}(): {error.strerror or error}") from None


def _listen(listeners: list[Listener], settings: Settings, log: Log) -> None:
    hosts = word_list(settings.listen_addr)
    for host in hosts:
        listeners.extend(_listen_tcp(host, settings, log))
    if hosts and not listeners:
        raise ListenError(f"failed to listen on any address in listen_addr list: {settings.listen_addr}")
    if settings.unix_socket_dir:
        listeners.append(_listen_unix(settings, log))
    if not listeners:
        raise ListenError("nowhere to listen on")


def _listen_tcp(host: str, settings: Settings, log: Log) -> Iterator[Listener]:
    for family, address in _addresses_of(host, settings.listen_port):
        try:
            listener = _bind(family, address, settings)
            _start(listener, settings, log)
        except _CannotListen as failed:
            log.warning(str(failed))
            continue
        tune_accept(listener.sock, bool(settings.tcp_defer_accept), log)
        yield listener


def _addresses_of(host: str, port: int) -> list[tuple[socket.AddressFamily, Any]]:
    try:
        found = socket.getaddrinfo(
            None if host == "*" else host,
            port,
            type=socket.SOCK_STREAM,
            proto=socket.IPPROTO_TCP,
            flags=socket.AI_PASSIVE,
        )
    except socket.gaierror as error:
        raise ListenError(f"getaddrinfo('{host}', '{port}') = {error.strerror} [{error.errno}]") from None
    except (ValueError, OverflowError) as error:
        raise ListenError(f"getaddrinfo('{host}', '{port}') = {error}") from None
    return [(family, address) for family, _, _, _, address in found]


def _listen_unix(settings: Settings, log: Log) -> Listener:
    address = unix_socket_address(settings.unix_socket_dir, settings.listen_port)
    in_file_system = not address.startswith("\0")
    if in_file_system:
        _clear_way(address, settings.listen_port)
    try:
        listener = _bind(socket.AF_UNIX, address, settings)
        if in_file_system:
            listener = replace(listener, file=SocketFile.at(address))
            _restrict(listener, address, settings)
        _start(listener, settings, log)
    except _CannotListen as failed:
        log.warning(str(failed))
        raise ListenError("failed to create unix socket") from None
    return listener


def _bind(family: socket.AddressFamily, address: Any, settings: Settings) -> Listener:
    description = format_address(family, address)
    is_unix = family == socket.AF_UNIX
    with _step("socket", description):
        sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        with _step("setsockopt", description):
            _set_binding_options(sock, settings)
        with _step("bind", description):
            sock.bind(address)
        with _step("tune_socket", description):
            tune_socket(sock, settings, is_unix)
    except BaseException:
        sock.close()
        raise
    # port 0 is known by now
    return Listener(sock, is_unix, description if is_unix else format_address(family, sock.getsockname()))


def _set_binding_options(sock: socket.socket, settings: Settings) -> None:
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.family == socket.AF_INET6:
        # else it would take the port of the IPv4 address of the same list
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if settings.so_reuseport:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _start(listener: Listener, settings: Settings, log: Log) -> None:
    try:
        with _step("listen", listener.description):
            listener.sock.listen(settings.listen_backlog)
    except _CannotListen:
        listener.close()
        raise
    log.info(f"listening on {listener.description}")


def _clear_way(path: str, port: int) -> None:
    """Remove the socket that an earlier process left; nothing but a socket."""
    if os.path.lexists(f"{path}.lock"):
        # PostgreSQL's own: a server owns this port in this directory
        raise ListenError(f"unix port {port} is in use")
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)


def _restrict(listener: Listener, path: str, settings: Settings) -> None:
    """Apply ``unix_socket_group`` and ``unix_socket_mode``, while nobody can connect yet."""
    try:
        if settings.unix_socket_group:
            _change_group(path, _group_id(settings.unix_socket_group))
        _change_mode(path, settings.unix_socket_mode)
    except ListenError:
        listener.close()
        raise


def _change_group(path: str, group: int) -> None:
    try:
        os.chown(path, -1, group)
    except OSError as error:
        raise ListenError(f"chown({path}, -1, {group}) failed: {error.strerror}") from None


def _change_mode(path: str, mode: int) -> None:
    try:
        os.chmod(path, mode)
    except OSError as error:
        raise ListenError(f"failure to chmod({path}, 0{mode:o}): {error.strerror}") from None


def _group_id(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ListenError(f"could not find group '{group}'") from None


def _adopt(passed: range, settings: Settings, log: Log) -> list[Listener]:
    if settings.listen_addr:
        log.warning("sockets passed from service manager, cf_listen_addr ignored")
    if settings.unix_socket_dir not in ("", DEFAULT_UNIX_SOCKET_DIR):
        log.warning("sockets passed from service manager, cf_unix_socket_dir ignored")
    return [_adopt_one(descriptor, settings, log) for descriptor in passed]


def _adopt_one(descriptor: int, settings: Settings, log: Log) -> Listener:
    try:
        sock = socket.socket(fileno=descriptor)
        _prepare_passed(sock, settings)
    except OSError as error:
        raise ListenError(
            f"failed to set up socket passed from service manager (fd {descriptor}): {error.strerror}"
        ) from None
    is_unix = sock.family == socket.AF_UNIX
    if not is_unix:
        tune_accept(sock, bool(settings.tcp_defer_accept), log)
    log.info(f"socket passed from service manager (fd {descriptor})")
    return Listener(sock, is_unix, format_address(sock.family, sock.getsockname()))


def _prepare_passed(sock: socket.socket, settings: Settings) -> None:
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.EINVAL, "not a listening socket")
        sock.set_inheritable(False)
        tune_socket(sock, settings, sock.family == socket.AF_UNIX)
    except OSError:
        sock.close()
        raise
