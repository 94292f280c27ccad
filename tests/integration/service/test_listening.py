import asyncio
import errno
import grp
import os
import socket
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvloop

from pooler.config.settings import Settings
from pooler.service import sockets
from pooler.service.log import Log
from pooler.service.sockets import (
    Listener,
    ListenError,
    open_listeners,
    peer_credentials,
    refuse_second_instance,
    tune_accept,
    tune_socket,
)


class HasDescriptor(Protocol):
    def fileno(self) -> int: ...


HandOver = Callable[..., dict[str, str]]


class Lines(Log):
    """A log that remembers."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.seen: list[str] = []

    def info(self, message: str, prefix: str = "") -> None:
        self.seen.append(f"LOG {message}")

    def warning(self, message: str, prefix: str = "") -> None:
        self.seen.append(f"WARNING {message}")


class Opener:
    """Opens listeners and sees to it that none is left."""

    def __init__(self, log: Lines) -> None:
        self.log = log
        self.opened: list[Listener] = []

    def __call__(self, settings: Settings, environ: dict[str, str] | None = None) -> list[Listener]:
        listeners = open_listeners(settings, self.log, environ or {})
        self.opened += listeners
        return listeners


@pytest.fixture
def log() -> Lines:
    return Lines()


@pytest.fixture
def listen(log: Lines) -> Iterator[Opener]:
    opener = Opener(log)
    yield opener
    for listener in opener.opened:
        listener.close()


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


def tcp(port: int, **changes: Any) -> Settings:
    return Settings(**{"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", **changes})


def unix(directory: Path | str, port: int, **changes: Any) -> Settings:
    return Settings(**{"listen_addr": "", "listen_port": port, "unix_socket_dir": str(directory), **changes})


def descriptions(listeners: list[Listener]) -> list[str]:
    return [listener.description for listener in listeners]


# which sockets


def test_tcp_and_unix_are_listened_on_and_logged(
    listen: Opener, log: Lines, port: int, directory: Path
) -> None:
    listeners = listen(tcp(port, unix_socket_dir=str(directory), tcp_defer_accept=0))
    expected = [f"127.0.0.1:{port}", f"unix:{directory}/.s.PGSQL.{port}"]
    assert descriptions(listeners) == expected
    assert [listener.is_unix for listener in listeners] == [False, True]
    assert log.seen == [f"LOG listening on {description}" for description in expected]
    for listener in listeners:
        with socket.socket(listener.sock.family) as client:
            client.connect(listener.sock.getsockname())


def test_a_list_of_names_and_families_is_listened_on(listen: Opener, port: int) -> None:
    listeners = listen(tcp(port, listen_addr=" localhost , ,::1,127.0.0.2,"))
    assert {f"127.0.0.1:{port}", f"[::1]:{port}", f"127.0.0.2:{port}"} <= set(descriptions(listeners))


def test_a_star_is_every_address_of_both_families(listen: Opener, port: int) -> None:
    assert sorted(descriptions(listen(tcp(port, listen_addr="*")))) == [f"0.0.0.0:{port}", f"[::]:{port}"]


def test_port_zero_is_described_by_the_port_it_became(listen: Opener) -> None:
    listener = listen(tcp(0))[0]
    assert listener.description == f"127.0.0.1:{listener.sock.getsockname()[1]}"
    assert not listener.description.endswith(":0")


def test_nothing_to_listen_on_is_an_error(listen: Opener, port: int) -> None:
    with pytest.raises(ListenError, match=r"^nowhere to listen on$"):
        listen(tcp(port, listen_addr=" , "))


def test_a_name_that_does_not_exist_is_an_error(listen: Opener, port: int) -> None:
    with pytest.raises(ListenError, match=rf"^getaddrinfo\('none\.invalid', '{port}'\) = .+ \[-\d+\]$"):
        listen(tcp(port, listen_addr="none.invalid"))


@pytest.mark.parametrize("host", ["a..b", "x" * 70, "a\0b"])
def test_a_name_that_cannot_exist_is_an_error(listen: Opener, port: int, host: str) -> None:
    with pytest.raises(ListenError, match=r"^getaddrinfo"):
        listen(tcp(port, listen_addr=host))


def test_one_busy_address_is_a_warning(listen: Opener, log: Lines, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        listeners = listen(tcp(port, listen_addr="127.0.0.1,127.0.0.2"))
    assert descriptions(listeners) == [f"127.0.0.2:{port}"]
    assert log.seen[0] == f"WARNING cannot listen on 127.0.0.1:{port}: bind(): Address already in use"


def test_only_busy_addresses_are_an_error(listen: Opener, port: int, directory: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ListenError, match=r"^failed to listen on any address in listen_addr list: 127\."),
    ):
        listen(tcp(port, unix_socket_dir=str(directory)))
    assert list(directory.iterdir()) == []


@pytest.mark.filterwarnings("error")  # a socket that is merely forgotten warns
def test_a_failure_closes_what_was_opened_before(listen: Opener, port: int, directory: Path) -> None:
    with pytest.raises(ListenError, match=r"^failed to create unix socket$"):
        listen(tcp(port, unix_socket_dir=str(directory / "none")))
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))


# options of listening sockets


def test_a_listener_has_its_socket_options(listen: Opener, port: int) -> None:
    listener = listen(tcp(port, listen_addr="::1", so_reuseport=1, tcp_defer_accept=1))[0]
    sock = listener.sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    assert not sock.getblocking()
    assert not sock.get_inheritable()


def test_a_listener_without_options_has_none(listen: Opener, port: int) -> None:
    sock = listen(tcp(port, so_reuseport=0, tcp_defer_accept=0))[0].sock
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) == 0


def test_so_reuseport_lets_two_processes_share_a_port(listen: Opener, port: int) -> None:
    settings = tcp(port, so_reuseport=1)
    assert descriptions(listen(settings) + listen(settings)) == [f"127.0.0.1:{port}"] * 2


def test_defer_accept_can_be_changed_while_listening(listen: Opener, log: Lines, port: int) -> None:
    sock = listen(tcp(port, tcp_defer_accept=0))[0].sock
    tune_accept(sock, True, log)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0
    tune_accept(sock, False, log)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) == 0


def test_defer_accept_that_does_not_work_is_a_warning(log: Lines) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        tune_accept(sock, True, log)
    assert log.seen == ["WARNING tune_accept: install TCP_DEFER_ACCEPT: Operation not supported"]


def test_listen_backlog_bounds_the_queue(listen: Opener, port: int, directory: Path) -> None:
    listen(unix(directory, port, listen_backlog=0))
    clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    try:
        results = []
        for client in clients:
            client.setblocking(False)
            results.append(client.connect_ex(f"{directory}/.s.PGSQL.{port}"))
    finally:
        for client in clients:
            client.close()
    assert results == [0, errno.EAGAIN, errno.EAGAIN]


# unix sockets


@pytest.mark.parametrize("mode", [0o777, 0o700, 0o660])
def test_the_socket_file_has_the_mode_of_the_settings(
    listen: Opener, port: int, directory: Path, mode: int
) -> None:
    listen(unix(directory, port, unix_socket_mode=mode))
    assert stat.S_IMODE((directory / f".s.PGSQL.{port}").stat().st_mode) == mode


@pytest.mark.parametrize("numeric", [False, True])
def test_the_socket_file_has_the_group_of_the_settings(
    listen: Opener, port: int, directory: Path, numeric: bool
) -> None:
    group = grp.getgrnam("nogroup") if os.getuid() == 0 else grp.getgrgid(os.getgid())
    name = str(group.gr_gid) if numeric else group.gr_name
    listen(unix(directory, port, unix_socket_group=name))
    assert (directory / f".s.PGSQL.{port}").stat().st_gid == group.gr_gid


def test_an_unknown_group_is_an_error_and_leaves_no_socket(
    listen: Opener, port: int, directory: Path
) -> None:
    with pytest.raises(ListenError, match=r"^could not find group 'no such group'$"):
        listen(unix(directory, port, unix_socket_group="no such group"))
    assert list(directory.iterdir()) == []


def test_nobody_connects_before_the_mode_is_set(
    listen: Opener, port: int, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []
    chmod = os.chmod

    def watching(path: str, mode: int) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            refused.append(client.connect_ex(path))
        chmod(path, mode)

    monkeypatch.setattr(os, "chmod", watching)
    listen(unix(directory, port))
    assert refused == [errno.ECONNREFUSED]


def test_closing_removes_the_socket_file(listen: Opener, port: int, directory: Path) -> None:
    listener = listen(unix(directory, port))[0]
    assert (directory / f".s.PGSQL.{port}").is_socket()
    listener.close()
    assert list(directory.iterdir()) == []


def test_closing_leaves_the_socket_file_of_a_successor(listen: Opener, port: int, directory: Path) -> None:
    first = listen(unix(directory, port))[0]
    listen(unix(directory, port))
    first.close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{directory}/.s.PGSQL.{port}")


def test_a_stale_socket_file_is_replaced(listen: Opener, port: int, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{directory}/.s.PGSQL.{port}")
    assert listen(unix(directory, port))


def test_a_file_that_is_no_socket_is_never_removed(
    listen: Opener, log: Lines, port: int, directory: Path
) -> None:
    file = directory / f".s.PGSQL.{port}"
    file.write_text("precious")
    with pytest.raises(ListenError, match=r"^failed to create unix socket$"):
        listen(unix(directory, port))
    assert file.read_text() == "precious"
    assert log.seen == [f"WARNING cannot listen on unix:{file}: bind(): Address already in use"]


def test_the_port_of_a_postgresql_server_is_left_alone(listen: Opener, port: int, directory: Path) -> None:
    (directory / f".s.PGSQL.{port}.lock").write_text("1\n")
    with pytest.raises(ListenError, match=f"^unix port {port} is in use$"):
        listen(unix(directory, port))


def test_a_path_that_is_too_long_is_an_error(listen: Opener, log: Lines, port: int, directory: Path) -> None:
    with pytest.raises(ListenError, match=r"^failed to create unix socket$"):
        listen(unix(directory / ("x" * 120), port))
    assert log.seen[0].endswith("bind(): AF_UNIX path too long")


def test_an_abstract_socket_needs_no_directory(listen: Opener, port: int) -> None:
    name = f"pooldeck-{os.getpid()}"
    listener = listen(unix(f"@{name}", port))[0]
    assert listener.description == f"unix:@{name}/.s.PGSQL.{port}"
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{name}/.s.PGSQL.{port}")
    listener.close()
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(f"\0{name}/.s.PGSQL.{port}")


# a second instance


@pytest.mark.parametrize("abstract", [False, True])
def test_a_second_instance_is_refused(listen: Opener, port: int, directory: Path, abstract: bool) -> None:
    settings = unix(f"@pooldeck-{port}" if abstract else directory, port)
    refuse_second_instance(settings, {})
    listen(settings)
    with pytest.raises(ListenError, match=r"^unix socket is in use, cannot continue$"):
        refuse_second_instance(settings, {})


def test_a_busy_first_instance_is_noticed_without_waiting(listen: Opener, port: int, directory: Path) -> None:
    settings = unix(directory, port, listen_backlog=0)
    listen(settings)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"{directory}/.s.PGSQL.{port}")
        with pytest.raises(ListenError):
            refuse_second_instance(settings, {})


def test_a_stale_socket_file_is_no_instance(port: int, directory: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{directory}/.s.PGSQL.{port}")
    refuse_second_instance(unix(directory, port), {})


def test_the_socket_does_not_matter_when_sockets_are_passed(
    listen: Opener, port: int, directory: Path
) -> None:
    settings = unix(directory, port)
    listen(settings)
    refuse_second_instance(settings, passed(1))


# client and server sockets


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted = server.accept()[0]
    with client, accepted:
        yield client, accepted


def test_tcp_settings_reach_the_socket(pair: tuple[socket.socket, socket.socket]) -> None:
    sock = pair[0]
    tune_socket(
        sock,
        Settings(
            tcp_keepalive=1,
            tcp_keepidle=61,
            tcp_keepintvl=7,
            tcp_keepcnt=4,
            tcp_user_timeout=12500,
            tcp_socket_buffer=65536,
        ),
        is_unix=False,
    )
    assert not sock.getblocking()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    options = {
        socket.TCP_NODELAY: 1,
        socket.TCP_KEEPIDLE: 61,
        socket.TCP_KEEPINTVL: 7,
        socket.TCP_KEEPCNT: 4,
        socket.TCP_USER_TIMEOUT: 12500,
    }
    assert {option: sock.getsockopt(socket.IPPROTO_TCP, option) for option in options} == options
    # the kernel doubles what it is asked for
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 65536
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 65536


def test_zero_leaves_the_kernels_values(pair: tuple[socket.socket, socket.socket]) -> None:
    tuned, untouched = pair
    options = [socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT]
    before = [tuned.getsockopt(socket.IPPROTO_TCP, option) for option in options]
    tune_socket(tuned, Settings(), is_unix=False)
    assert [tuned.getsockopt(socket.IPPROTO_TCP, option) for option in options] == before
    assert untouched.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    assert tuned.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_keepalive_can_be_switched_off(pair: tuple[socket.socket, socket.socket]) -> None:
    sock = pair[0]
    tune_socket(sock, Settings(), is_unix=False)
    tune_socket(sock, Settings(tcp_keepalive=0, tcp_keepidle=61), is_unix=False)
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) != 61


def test_a_value_that_the_kernel_refuses_is_an_error(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        tune_socket(pair[0], Settings(tcp_keepidle=10**6), is_unix=False)


def test_a_unix_socket_only_becomes_non_blocking() -> None:
    left, right = socket.socketpair()
    with left, right:
        tune_socket(left, Settings(tcp_keepidle=61, tcp_socket_buffer=65536), is_unix=True)
        assert not left.getblocking()
        assert left.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == right.getsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF
        )


def test_peer_credentials_are_those_of_the_process() -> None:
    left, right = socket.socketpair()
    with left, right:
        assert peer_credentials(left) == (os.getpid(), os.geteuid(), os.getegid())


def test_a_tcp_socket_has_no_peer_credentials(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(OSError, match="only a unix socket"):
        peer_credentials(pair[0])


def test_an_unconnected_socket_has_no_peer_credentials() -> None:
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(OSError, match="not connected"):
        peer_credentials(sock)


class _Accepting(asyncio.Protocol):
    def __init__(self, accepted: asyncio.Future[Any]) -> None:
        self.accepted = accepted

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.accepted.set_result(transport.get_extra_info("socket"))


def test_the_socket_of_a_uvloop_transport_will_do(listen: Opener, port: int, directory: Path) -> None:
    async def connect_both() -> None:
        loop = asyncio.get_running_loop()
        for listener in listen(tcp(port, unix_socket_dir=str(directory), tcp_defer_accept=0)):
            accepted: asyncio.Future[Any] = loop.create_future()
            create = loop.create_unix_server if listener.is_unix else loop.create_server
            server = await create(partial(_Accepting, accepted), sock=listener.sock)
            with socket.socket(listener.sock.family) as client:
                client.setblocking(False)
                await loop.sock_connect(client, listener.sock.getsockname())
                sock = await accepted
                tune_socket(sock, Settings(tcp_keepidle=61), listener.is_unix)
                if listener.is_unix:
                    assert peer_credentials(sock).uid == os.geteuid()
                else:
                    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 61
            server.close()

    uvloop.run(connect_both())


# sockets of a service manager


def passed(count: int) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count)}


@pytest.fixture
def hand_over(monkeypatch: pytest.MonkeyPatch) -> HandOver:
    """Put sockets at consecutive descriptors, as a service manager does from 3 on."""
    first = 500
    monkeypatch.setattr(sockets, "FIRST_PASSED_DESCRIPTOR", first)

    def put(*files: HasDescriptor) -> dict[str, str]:
        for number, file in enumerate(files, first):
            os.dup2(file.fileno(), number)
        return passed(len(files))

    return put


def test_passed_sockets_take_the_place_of_both_settings(
    listen: Opener, log: Lines, directory: Path, hand_over: HandOver
) -> None:
    path = directory / "passed"
    with socket.create_server(("127.0.0.1", 0)) as inet, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(path))
        local.listen()
        environ = hand_over(inet, local)
        address = f"127.0.0.1:{inet.getsockname()[1]}"
    listeners = listen(tcp(1, listen_addr="192.0.2.1", unix_socket_dir=str(directory)), environ)
    assert descriptions(listeners) == [address, f"unix:{path}"]
    assert [listener.is_unix for listener in listeners] == [False, True]
    assert log.seen == [
        "WARNING sockets passed from service manager, cf_listen_addr ignored",
        "WARNING sockets passed from service manager, cf_unix_socket_dir ignored",
        "LOG socket passed from service manager (fd 500)",
        "LOG socket passed from service manager (fd 501)",
    ]
    assert [listener.sock.getblocking() for listener in listeners] == [False, False]
    assert [listener.sock.get_inheritable() for listener in listeners] == [False, False]
    for listener in listeners:
        listener.close()
    assert path.is_socket()


def test_default_settings_are_ignored_silently(listen: Opener, log: Lines, hand_over: HandOver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inet:
        environ = hand_over(inet)
    listen(Settings(listen_addr="", unix_socket_dir="/tmp"), environ)
    assert log.seen == ["LOG socket passed from service manager (fd 500)"]


def test_a_passed_descriptor_that_is_no_listener_is_an_error(listen: Opener, hand_over: HandOver) -> None:
    with socket.socket() as idle:
        environ = hand_over(idle)
    with pytest.raises(
        ListenError,
        match=r"^failed to set up socket passed from service manager \(fd 500\): not a listening socket$",
    ):
        listen(Settings(), environ)


def test_a_passed_descriptor_that_is_no_socket_is_an_error(listen: Opener, hand_over: HandOver) -> None:
    with open("/dev/null") as file:
        environ = hand_over(file)
        with pytest.raises(ListenError, match=r"\(fd 500\): Socket operation on non-socket$"):
            listen(Settings(), environ)
    os.close(500)
