"""The admin database of the pooler under test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.client import Connection, ConnectionLost, rows
from tests.chaos.scene import Failure
from tests.support.bouncer import ADMIN


class Console:
    """Tells the pooler what to do; each answer has to come within `deadline` seconds."""

    def __init__(self, host: str, port: int, deadline: float) -> None:
        self._host = host
        self._port = port
        self._deadline = deadline

    async def admin(self, command: str) -> list[dict[str, str]]:
        """One command on a connection of its own. Raises Refused, or Failure without an answer."""
        async with self.connection() as connection:
            return await self.tell(connection, command)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection that is logged in. Raises Failure."""
        try:
            async with asyncio.timeout(self._deadline):
                connection = await Connection.open(self._host, self._port)
                await connection.login(ADMIN, "pgbouncer")
        except (ConnectionLost, TimeoutError) as error:
            raise Failure(f"the admin database cannot be reached: {error!r}") from None
        try:
            yield connection
        finally:
            connection.terminate()

    async def tell(self, connection: Connection, command: str) -> list[dict[str, str]]:
        """The rows that a command brings. Raises Refused, or Failure without an answer."""
        try:
            async with asyncio.timeout(self._deadline):
                return await rows(connection, command)
        except (ConnectionLost, TimeoutError) as error:
            raise Failure(f"{command}: the admin database does not answer: {error!r}") from None
