"""What a pool knows of the connections in it. The relay's connections extend these two classes.

All times are nanoseconds of the monotonic clock; 0 means "not running".
"""

from abc import abstractmethod
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from pooler.pool.lists import Member, MemberList
from pooler.pool.replication import Replication
from pooler.wire.parameters import Values
from pooler.wire.prepared import Statement
from pooler.wire.requests import RequestQueue

if TYPE_CHECKING:
    from pooler.pool.pool import Pool

# What a client in a waiting list waits for.
NOTHING: Final = 0
SERVER: Final = 1
WELCOME: Final = 2
"""The pool has not seen a server yet, so it cannot say what a server would say to a new client."""


class Client(Member):
    """A client connection. `link` is the server that works for it now."""

    __slots__ = (
        "absent",
        "awaits",
        "bytes_received",
        "bytes_sent",
        "congested",
        "connect_ns",
        "id",
        "link",
        "notified",
        "params",
        "pool",
        "queries",
        "query_ns",
        "replication",
        "request_ns",
        "settling",
        "stalled",
        "wait_ns",
        "wait_reason",
        "waited_ns",
        "warned",
        "worked_ns",
        "xact_ns",
        "xacts",
    )

    id: i64
    pool: "Pool | None"
    link: "Server | None"
    params: Values
    connect_ns: i64
    request_ns: i64
    wait_ns: i64
    query_ns: i64
    xact_ns: i64
    awaits: i64
    wait_reason: i64
    """The gravest of `pooler.pool.waits` so far."""
    warned: i64
    """A bit for each kind of unsafe use that was logged (`pooler.wire.heads`)."""
    waited_ns: i64
    worked_ns: i64
    """In transactions that are over."""
    queries: i64
    xacts: i64
    bytes_received: i64
    bytes_sent: i64
    notified: bool
    replication: Replication | None
    stalled: bool
    """What it sends is kept until it has a server, or its server is ready for it."""
    absent: bool
    """It has left, and this stands in for it until the server has come to an end with its query."""
    settling: bool
    """It waits to know which of its prepared statements exist, after a Sync that it has sent."""
    congested: bool
    """It reads slower than servers send: a server that works for it is not read from."""

    def __init__(self, id: i64, params: Values) -> None:
        super().__init__()
        now: i64 = monotonic_ns()
        self.id = id
        self.pool = None
        self.link = None
        self.params = params
        self.connect_ns = now
        self.request_ns = now
        self.wait_ns = 0
        self.query_ns = 0
        self.xact_ns = 0
        self.awaits = NOTHING
        self.wait_reason = 0
        self.warned = 0
        self.waited_ns = 0
        self.worked_ns = 0
        self.queries = 0
        self.xacts = 0
        self.bytes_received = 0
        self.bytes_sent = 0
        self.notified = False
        self.replication = None
        self.stalled = False
        self.absent = False
        self.settling = False
        self.congested = False

    @abstractmethod
    def proceed(self) -> None:
        """What the client waited for is there: its link, or the pool's welcome."""

    @abstractmethod
    def unstall(self) -> None:
        """Goes on with what the client had sent before it had to wait."""

    @abstractmethod
    def disconnect(self, reason: str, notify: bool = True, sqlstate: str = "08P01") -> None:
        """Closes the connection; with `notify` the client is told why, as a FATAL error."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Bytes to the client."""

    @abstractmethod
    def prepared_statements(self) -> dict[bytes, Statement]:
        """Its named prepared statements."""

    @abstractmethod
    def mid_message(self) -> bool:
        """Its server has been sent the first part of a message."""

    @abstractmethod
    def hold_reading(self) -> None:
        """Reads no more for now."""

    @abstractmethod
    def check_peer(self) -> None:
        """Closes the connection if the peer has reset it; needed while it is not read."""

    @abstractmethod
    def release_reading(self) -> None:
        """Reads again."""

    @abstractmethod
    def home(self) -> MemberList:
        """The list to be in while not waiting: logging in, or active."""

    @abstractmethod
    def server_lost(self, reason: str) -> None:
        """The server that worked for this client was closed."""

    @abstractmethod
    def describe(self) -> str:
        """Who this is, as the prefix of a log line."""

    @abstractmethod
    def notify_waiting(self) -> None:
        """Tells the client once that it is queued (query_wait_notify)."""


class Server(Member):
    """A connection to PostgreSQL. `ready` says that its last word was "idle, outside of any transaction"."""

    __slots__ = (
        "cancels",
        "close_needed",
        "congested",
        "connect_ns",
        "id",
        "idle_in_transaction",
        "in_block",
        "judged",
        "link",
        "opened",
        "params",
        "pool",
        "queue",
        "ready",
        "replication",
        "request_ns",
        "setting_parameters",
        "tainted",
    )

    id: i64
    pool: "Pool"
    link: "Client | None"
    params: Values
    queue: RequestQueue
    replication: Replication | None
    """It belongs to one replication client from its login to its end."""
    in_block: bool
    """As idle_in_transaction when it was ready last; behind a BEGIN at once."""
    judged: i64
    """How many SETs of the client at work are known, and need not be told by their tag."""
    tainted: bool
    """A client has left something behind: it is reset before the next one gets it."""
    opened: bool
    """Its login was accepted."""
    ready: bool
    idle_in_transaction: bool
    setting_parameters: bool
    congested: bool
    """It reads slower than its client sends: the client is not read from."""
    close_needed: bool
    connect_ns: i64
    request_ns: i64
    cancels: "list[Client]"
    """Cancel requests on their way to this server, which may serve nobody else until they have arrived."""

    def __init__(self, id: i64, pool: "Pool", params: Values) -> None:
        super().__init__()
        now: i64 = monotonic_ns()
        self.id = id
        self.pool = pool
        self.link = None
        self.params = params
        self.queue = RequestQueue()
        self.replication = None
        self.in_block = False
        self.judged = 0
        self.tainted = False
        self.opened = False
        self.ready = False
        self.idle_in_transaction = False
        self.setting_parameters = False
        self.congested = False
        self.close_needed = False
        self.connect_ns = now
        self.request_ns = now
        self.cancels = []

    @abstractmethod
    def disconnect(self, reason: str, terminate: bool = True) -> None:
        """Closes the connection, with a Terminate message unless the connection cannot take one."""

    @abstractmethod
    def close_in_query(self, reason: str, terminate: bool = True) -> None:
        """Closes the connection, and has PostgreSQL cancel what it runs."""

    @abstractmethod
    def cancel_query(self) -> None:
        """Has PostgreSQL cancel what the server runs for a client that has left."""

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Bytes to the server."""

    @abstractmethod
    def release_if_free(self) -> None:
        """Back to the pool, unless something is half way or owed."""

    @abstractmethod
    def reset(self) -> None:
        """Sends `server_reset_query`; the server is released again when it is done."""

    @abstractmethod
    def check(self) -> None:
        """Sends `server_check_query`; the server is released again when it is done."""

    @abstractmethod
    def hold_reading(self) -> None:
        """Reads no more until its client has taken what is there."""

    @abstractmethod
    def resume_reading(self) -> None:
        """Reads again after a slow client had stopped it."""
