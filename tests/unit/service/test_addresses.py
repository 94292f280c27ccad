import os
import socket

import pytest

from pooler.service.sockets import format_address, passed_descriptors, unix_socket_address


@pytest.mark.parametrize(
    ("family", "address", "text"),
    [
        (socket.AF_INET, ("127.0.0.1", 6432), "127.0.0.1:6432"),
        (socket.AF_INET6, ("::1", 6432, 0, 0), "[::1]:6432"),
        (socket.AF_UNIX, "/tmp/.s.PGSQL.6432", "unix:/tmp/.s.PGSQL.6432"),
        (socket.AF_UNIX, "\0pool/.s.PGSQL.6432", "unix:@pool/.s.PGSQL.6432"),
        (socket.AF_UNIX, b"\0pool/.s.PGSQL.6432", "unix:@pool/.s.PGSQL.6432"),
    ],
)
def test_addresses_are_written_as_pgbouncer_writes_them(family: int, address: object, text: str) -> None:
    assert format_address(family, address) == text


def test_unix_socket_follows_postgresqls_naming() -> None:
    assert unix_socket_address("/var/run", 6432) == "/var/run/.s.PGSQL.6432"
    assert unix_socket_address("@pool", 6432) == "\0pool/.s.PGSQL.6432"


@pytest.mark.parametrize(
    ("pid", "count", "passed"),
    [
        ("{own}", "2", range(3, 5)),
        ("{own}", "0", range(3, 3)),
        ("{own}", "-1", range(3, 3)),
        ("{own}", "many", range(3, 3)),
        ("1{own}", "2", range(3, 3)),
        ("", "2", range(3, 3)),
    ],
)
def test_sockets_are_taken_over_only_when_they_are_for_this_process(
    pid: str, count: str, passed: range
) -> None:
    assert passed_descriptors({"LISTEN_PID": pid.format(own=os.getpid()), "LISTEN_FDS": count}) == passed


def test_no_service_manager_passes_nothing() -> None:
    assert not passed_descriptors({})
