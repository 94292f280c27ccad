"""The pooler's files for the demo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from cli.demo.postgres import TemporaryPostgres

USER: Final = "postgres"
"""May do everything, in PostgreSQL and in the pooler."""


def write_config(
    postgres: TemporaryPostgres,
    port: int,
    clients: int,
    pool_size: int,
    databases: Mapping[str, str],
    users: Iterable[str] = (),
) -> Path:
    """Ini and user list, inside the server's directory, so that they go with it.

    `databases` has for each name what its connect string says besides the server.
    """
    directory = postgres.directory / "pooler"
    directory.mkdir()
    (directory / "userlist.txt").write_text("".join(f'"{user}" ""\n' for user in (USER, *users)))
    server = f"host=127.0.0.1 port={postgres.port} dbname=postgres"
    config = directory / "pgbouncer.ini"
    config.write_text(
        f"""\
[databases]
{"".join(f"{name} = {server} {more}".rstrip() + chr(10) for name, more in databases.items())}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {directory}
auth_type = trust
auth_file = {directory}/userlist.txt
admin_users = {USER}
logfile = {directory}/pooler.log
pool_mode = transaction
default_pool_size = {pool_size}
max_client_conn = {clients + 10}
"""
    )
    return config
