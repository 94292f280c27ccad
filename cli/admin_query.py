"""One query to an admin database, over the simple protocol, with blocking sockets.

For a pooler that is asked once and not watched: drivers expect more of a server than an admin database
offers.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from pooler.auth.server_login import ServerLogin, ServerLoginError
from pooler.wire import framing, messages
from pooler.wire.errors import ProtocolError

_MESSAGE_LIMIT = 64 * 1024 * 1024

Row = tuple[str | None, ...]


class AdminQueryError(Exception):
    """The pooler refused the login or the query, or broke the protocol; the text is its own where given."""


def fetch(
    host: str,
    port: int,
    user: str,
    sql: str,
    password: str | None = None,
    *,
    database: str = "pgbouncer",
    timeout: float = 10.0,
) -> tuple[list[str], list[Row]]:
    """Run one statement and return its columns' names and its rows as text, both empty for a command.

    `host` is a name, an address or, with a leading slash, the directory of a unix socket. `timeout` holds for
    every wait, in seconds. Raises AdminQueryError, or OSError when the pooler cannot be reached.
    """
    with _connect(host, port, timeout) as connection:
        replies = _messages(connection)
        try:
            connection.sendall(messages.startup([("user", user), ("database", database)]))
            _log_in(connection, replies, ServerLogin(user, password or "", None))
            connection.sendall(messages.query(sql))
            answer = _collect(replies)
            connection.sendall(messages.TERMINATE_MESSAGE)
        except (ProtocolError, ServerLoginError) as error:
            raise AdminQueryError(str(error)) from None
    return answer


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, port), timeout)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout)
    try:
        connection.connect(f"{host}/.s.PGSQL.{port}")
    except OSError:
        connection.close()
        raise
    return connection


def _messages(connection: socket.socket) -> Iterator[tuple[int, bytes]]:
    """The messages of the server as they come; an ErrorResponse and the end of the connection are raised."""
    buffer = bytearray()
    while chunk := connection.recv(65536):
        buffer += chunk
        for kind, body in messages.split(buffer, _MESSAGE_LIMIT):
            if kind == framing.ERROR:
                raise AdminQueryError(messages.parse_error(body).message)
            yield kind, body
    raise AdminQueryError("the pooler closed the connection")


def _log_in(connection: socket.socket, replies: Iterator[tuple[int, bytes]], login: ServerLogin) -> None:
    for kind, body in replies:
        if kind == framing.READY_FOR_QUERY:
            return
        if kind != framing.AUTHENTICATION:
            continue
        answer = login.respond(body)
        if answer is not None:
            connection.sendall(answer)


def _collect(replies: Iterator[tuple[int, bytes]]) -> tuple[list[str], list[Row]]:
    columns: list[str] = []
    rows: list[Row] = []
    for kind, body in replies:
        if kind == framing.READY_FOR_QUERY:
            break
        if kind == framing.ROW_DESCRIPTION:
            columns = _column_names(body)
        elif kind == framing.DATA_ROW:
            cells = messages.parse_data_row(body)
            rows.append(tuple(None if cell is None else messages.decode(cell) for cell in cells))
    return columns, rows


def _column_names(body: bytes) -> list[str]:
    """The names in a RowDescription; 18 bytes about the type follow each."""
    (count,) = struct.unpack_from("!h", body)
    names: list[str] = []
    position = 2
    for _ in range(count):
        name, position = messages.read_string(body, position)
        names.append(name)
        position += 18
    return names
