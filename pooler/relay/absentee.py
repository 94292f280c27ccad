"""What takes the place of a client that has left while its query was running.

PostgreSQL is asked to cancel the query, and what it still sends is thrown away, by the same code that passes
it on to a client who is there. The server then goes back to the pool as from any client; one that has not
come to an end within `cancel_wait_timeout` is closed.
"""

from typing import TYPE_CHECKING

from pooler.pool.lists import MemberList
from pooler.pool.members import Client
from pooler.wire.framing import FUNCTION_CALL, QUERY, SYNC
from pooler.wire.prepared import Statement
from pooler.wire.requests import KIND

if TYPE_CHECKING:
    from pooler.relay.server import ServerConnection


class Absentee(Client):
    """Takes what a server says to a client that is no longer there."""

    __slots__ = ("name", "statements")

    name: str
    statements: dict[bytes, Statement]

    def __init__(self, left: Client) -> None:
        super().__init__(left.id, left.params)
        self.absent = True
        self.pool = left.pool
        self.query_ns = left.query_ns
        self.xact_ns = left.xact_ns
        self.statements = left.prepared_statements()
        self.name = left.describe()

    def proceed(self) -> None:
        """It waits for nothing."""

    def unstall(self) -> None:
        """It sends nothing."""

    def disconnect(self, reason: str, notify: bool = True, sqlstate: str = "08P01") -> None:
        """It is not there."""

    def send(self, data: bytes) -> None:
        """Nobody may have this."""

    def prepared_statements(self) -> dict[bytes, Statement]:
        """Those that its client had: an error may still undo changes to them."""
        return self.statements

    def mid_message(self) -> bool:
        """A server that was sent half a message is closed instead."""
        return False

    def hold_reading(self) -> None:
        """It sends nothing."""

    def check_peer(self) -> None:
        """It has no peer."""

    def release_reading(self) -> None:
        """It sends nothing."""

    def home(self) -> MemberList:
        """It is in no list."""
        raise NotImplementedError

    def server_lost(self, reason: str) -> None:
        """Nobody has to know."""

    def describe(self) -> str:
        """Who it was."""
        return self.name

    def notify_waiting(self) -> None:
        """It waits for nothing."""


def can_finish(server: "ServerConnection") -> bool:
    """Whether the server will come to a ReadyForQuery without another word from the client.

    Nothing may be added in the client's name: a Sync would commit what the client had not asked to commit.
    """
    queue = server.queue
    if len(queue) == 0 or queue.copying or server.task is not None or server.unsent() > 0:
        return False
    kind = queue.newest() & KIND
    return kind == SYNC or kind == QUERY or kind == FUNCTION_CALL


def abandon(server: "ServerConnection", left: Client) -> None:
    """The client is gone; the server has its query cancelled, and is drained or closed."""
    worth_it = server.pool.policy.cancel_wait_timeout_ns > 0 and server.replication is None
    if not (worth_it and server.cancel_key and can_finish(server)):
        server.close_in_query("client disconnect while server was not ready")
        return
    absentee = Absentee(left)
    absentee.link = server
    server.link = absentee
    server.move_last(server.pool.canceled_servers)
    server.cancel_query()
