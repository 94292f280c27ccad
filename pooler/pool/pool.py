"""A pool: the server connections of one user in one database, and the clients that share them."""

from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from mypy_extensions import i64

from pooler.pool.catalog import Credentials, Database, Policy
from pooler.pool.lists import MemberList
from pooler.pool.members import NOTHING, SERVER, WELCOME, Client, Server
from pooler.pool.reasons import why
from pooler.pool.stats import PoolStats, Totals
from pooler.pool.tallies import Tallies
from pooler.pool.waits import POOL_FULL, SERVER_DOWN, WaitCounts
from pooler.wire.parameters import Values

if TYPE_CHECKING:
    from pooler.pool.registry import Registry


class Pool:
    """Who is connected, who waits, who is free.

    Moves connections between its lists, and asks for new ones when it must.

    `welcome` is what a server of this pool reports to a new session, kept to greet clients without one. A
    pool `for_auth` has servers that only ever run auth_query.
    """

    registry: "Registry"
    database: Database
    credentials: Credentials
    for_auth: bool
    policy: Policy
    mode: i64
    paused: bool
    stats: PoolStats
    newer: Totals
    older: Totals
    welcome: bytes | None
    defaults: Values
    round_robin: i64
    last_active_ns: i64
    last_connect_ns: i64
    last_lifetime_ns: i64
    connect_failed: bool
    login_failed: bool
    failure: str
    waits: WaitCounts
    errors: Tallies
    """By `server` and SQLSTATE, or `pooler` and what the client was told."""
    unsafe: Tallies
    """By kind (`pooler.wire.heads`) and application_name."""
    turnover: Tallies
    """Servers opened, failed and closed, and why."""

    def __init__(
        self, registry: "Registry", database: Database, credentials: Credentials, for_auth: bool = False
    ) -> None:
        self.registry = registry
        self.database = database
        self.credentials = credentials
        self.for_auth = for_auth
        self.stats = PoolStats()
        self.newer = Totals()
        self.older = Totals()
        self.welcome = None
        self.defaults = registry.parameters.empty
        self.round_robin = 0
        self.last_active_ns = monotonic_ns()
        self.last_connect_ns = 0
        self.last_lifetime_ns = 0
        self.connect_failed = False
        self.login_failed = False
        self.failure = ""
        self.waits = WaitCounts()
        self.errors = Tallies()
        self.turnover = Tallies()
        self.unsafe = Tallies()
        self.dispatching = False
        self.active_clients = MemberList("active")
        self.waiting_clients = MemberList("waiting")
        self.active_cancels = MemberList("active_cancel_req")
        self.waiting_cancels = MemberList("waiting_cancel_req")
        self.active_servers = MemberList("active")
        self.idle_servers = MemberList("idle")
        self.used_servers = MemberList("used")
        self.tested_servers = MemberList("tested")
        self.new_servers = MemberList("new")
        self.cancel_servers = MemberList("active_cancel")
        self.canceled_servers = MemberList("being_canceled")
        self.configure(registry.policy_of(database, credentials), registry.is_paused(database))

    def configure(self, policy: Policy, paused: bool) -> None:
        """Settings, or a PAUSE or RESUME, have changed."""
        self.policy = policy
        self.mode = int(policy.mode)
        self.paused = paused
        self.size: i64 = policy.pool_size
        self.lifetime_ns: i64 = policy.server_lifetime_ns
        self.most: i64 = policy.pool_size
        if policy.reserve_pool_timeout_ns > 0:
            self.most += policy.reserve_pool_size
        self.guard: i64 = int(policy.guard)
        self.resets = policy.reset_query != ""
        self.checks_at_once = policy.check_query is not None and policy.server_check_delay_ns == 0
        self.round_robins = policy.server_round_robin

    @property
    def key(self) -> tuple[str, str, bool]:
        """Where the registry keeps it."""
        return (self.database.name, self.credentials.name, self.for_auth)

    # How many ----------------------------------------------------------------------------------------------

    def connected_servers(self) -> int:
        """Servers that are logged in (what pool_size and min_pool_size count)."""
        return int(
            self.active_servers.count
            + self.canceled_servers.count
            + self.idle_servers.count
            + self.tested_servers.count
            + self.used_servers.count
        )

    def all_servers(self) -> int:
        """Connected servers, and those that log in or carry a cancel request."""
        return self.connected_servers() + int(self.new_servers.count + self.cancel_servers.count)

    def all_clients(self) -> int:
        """Clients that are logged in, or wait."""
        return int(self.active_clients.count + self.waiting_clients.count)

    def client_lists(self) -> tuple[MemberList, ...]:
        """Its client lists, in the order of SHOW CLIENTS."""
        return (self.active_clients, self.waiting_clients, self.active_cancels, self.waiting_cancels)

    def server_lists(self) -> tuple[MemberList, ...]:
        """Its server lists, in the order of SHOW SERVERS."""
        return (
            self.active_servers,
            self.idle_servers,
            self.used_servers,
            self.tested_servers,
            self.new_servers,
            self.cancel_servers,
            self.canceled_servers,
        )

    # A client wants a server -------------------------------------------------------------------------------

    def acquire(self, client: Client) -> Server | None:
        """A server for this client, linked to it; or None: the client now waits in line, or was refused and
        closed.
        """
        server = self._take_idle() if client.replication is None else None
        if server is not None:
            self._link(client, server)
            return server
        if self._refuses(client):
            return None
        self.enqueue(client, SERVER)
        return None

    def enqueue(self, client: Client, awaits: i64) -> None:
        """The client waits, behind those that wait already, for a server or for the pool's welcome."""
        if self.registry.waits_for_servers:
            client.disconnect("server shutting down")
            return
        client.awaits = awaits
        client.wait_ns = monotonic_ns()
        client.notified = False
        client.move_last(self.waiting_clients)
        if 0 < self.most <= self.active_servers.count and not self.paused:
            client.wait_reason = POOL_FULL
        else:
            client.wait_reason = why(self)
        if not self._all_at_work():
            self.registry.attend_soon(self)

    def _take_idle(self) -> Server | None:
        if self.paused:
            return None
        while True:
            first = self.idle_servers.first
            if first is None:
                return None
            server = cast(Server, first)
            if server.close_needed:
                server.disconnect("obsolete connection")
            elif not server.ready:
                server.disconnect("idle server got dirty")
            else:
                return server

    def _link(self, client: Client, server: Server) -> None:
        client.link = server
        server.link = client
        server.judged = 0
        self.stats.server_assignment_count += 1
        server.move_last(self.active_servers)
        if client.congested:
            server.hold_reading()
        if server.congested:
            client.hold_reading()

    def _refuses(self, client: Client) -> bool:
        """Fails fast while logins to the server fail and no connection is left, rather than letting clients
        pile up.
        """
        if self.paused or not self.login_failed or self.connected_servers() > 0:
            return False
        client.disconnect(f"server login has been failing, cached error: {self.failure} (server_login_retry)")
        self.launch()
        return True

    def dispatch(self) -> None:
        """Gives free servers to waiting clients, first come first served."""
        if self.dispatching:
            return
        self.dispatching = True
        try:
            if not self.paused and self.replication_in_turn() is not None:
                self.launch()
            while not self.paused:
                client = self._next_in_line()
                if client is None:
                    break
                if client.awaits == WELCOME:
                    if self.welcome is None:
                        break
                    self._awaken(client)
                    continue
                server = self._take_idle()
                if server is None:
                    break
                self._link(client, server)
                self._awaken(client)
        finally:
            self.dispatching = False

    def _next_in_line(self) -> Client | None:
        """The first waiting client that any server suits, or that only has to be greeted."""
        member = self.waiting_clients.first
        while member is not None:
            client = cast(Client, member)
            if client.replication is None:
                return client
            if client.awaits == WELCOME and self.welcome is not None and client.link is None:
                return client
            member = member.following
        return None

    def replication_in_turn(self) -> Client | None:
        """The client that the next new server is for, if the first in line wants one of its own."""
        first = self.waiting_clients.first
        if first is None:
            return None
        client = cast(Client, first)
        if client.replication is None or client.link is not None:
            return None
        return client

    def dedicate(self, server: Server) -> None:
        """A server has logged in for a replication client, and works for it from now on."""
        client = server.link
        if client is None:
            server.disconnect("replication client was closed")
            return
        self.login_failed = False
        self.connect_failed = False
        self._opened(server)
        self.stats.server_assignment_count += 1
        server.move_last(self.active_servers)
        self._awaken(client)
        if self.waiting_clients.count > 0:
            self.registry.attend_soon(self)

    def _awaken(self, client: Client) -> None:
        self.withdraw(client)
        client.proceed()

    def withdraw(self, client: Client) -> None:
        """Takes a client out of the line."""
        self.stats.wait_ns += self._wait_over(client)
        client.awaits = NOTHING
        client.move_last(client.home())

    def gave_up(self, client: Client) -> None:
        """A client that waits is being closed."""
        client.wait_reason = max(client.wait_reason, why(self))
        self._wait_over(client)

    def note_reasons(self) -> None:
        """What holds the line up now counts for everybody in it."""
        if self.waiting_clients.count == 0:
            return
        reason: i64 = why(self)
        for member in self.waiting_clients:
            client = cast(Client, member)
            client.wait_reason = max(client.wait_reason, reason)

    def _wait_over(self, client: Client) -> i64:
        waited: i64 = monotonic_ns() - client.wait_ns
        self.stats.wait_times.record(waited)
        self.waits.add(client.wait_reason, waited)
        client.waited_ns += waited
        return waited

    # A server becomes free ---------------------------------------------------------------------------------

    def release(self, server: Server) -> None:
        """A server has nothing to do for its client any more, or has finished a reset, a check or a login."""
        client = server.link
        worked = server.place is self.active_servers or server.place is self.canceled_servers
        fresh = server.place is self.new_servers
        if client is not None:
            client.link = None
            server.link = None
            if server.congested and not client.stalled:
                client.release_reading()
        if server.cancels:
            self._forget_unsent_cancels(server)
        if fresh:
            self.login_failed = False
            self.connect_failed = False
            self._opened(server)
        elif self.life_is_over(server):
            server.disconnect("server lifetime over")
            self.last_lifetime_ns = monotonic_ns()
            return
        if server.queue.head != 0:
            server.disconnect("client disconnected with queries in progress")
            return
        if server.close_needed:
            server.disconnect("close_needed")
            return
        if server.cancels:
            server.move_last(self.canceled_servers)
            return
        if worked and (self.resets or server.tainted):
            server.move_last(self.tested_servers)
            server.reset()
            return
        if worked and self.checks_at_once:
            server.move_first(self.used_servers)
            self.registry.attend_soon(self)
            return
        if self.paused and not self.registry.is_suspended:
            server.disconnect("pause mode")
            return
        if worked and self.waiting_clients.count > 0 and self._hand_over(server):
            return
        if self.round_robins:
            server.move_last(self.idle_servers)
        else:
            server.move_first(self.idle_servers)
        if self.waiting_clients.count > 0:
            self.dispatch()
            if self.waiting_clients.count > 0 and not self._all_at_work():
                self.registry.attend_soon(self)

    def _hand_over(self, server: Server) -> bool:
        """Gives a server to the first in line directly, where that is all that `dispatch` would do."""
        if self.dispatching or self.paused or self.idle_servers.count > 0 or not server.ready:
            return False
        client = cast(Client, self.waiting_clients.first)
        if client.awaits != SERVER or client.replication is not None or not self._all_at_work():
            return False
        self.dispatching = True
        try:
            self._link(client, server)
            self._awaken(client)
        finally:
            self.dispatching = False
        if self.idle_servers.count > 0:
            self.dispatch()
        return True

    def _all_at_work(self) -> bool:
        """Every place is taken by a server that works: the next one that is free goes to the first in line.

        Whether it is time for the reserve, maintenance looks three times a second.
        """
        return 0 < self.size <= self.active_servers.count

    def life_is_over(self, server: Server) -> bool:
        """server_lifetime has passed; and not so soon after the last such close that all would have to log in
        again at once.
        """
        now: i64 = monotonic_ns()
        if now - server.connect_ns < self.lifetime_ns:
            return False
        gap = self.lifetime_ns // self.policy.pool_size if self.policy.pool_size > 0 else 0
        return now - self.last_lifetime_ns >= gap

    def _forget_unsent_cancels(self, server: Server) -> None:
        """The query that these cancels were meant for is over; those that were sent already keep the server
        until they arrived.
        """
        server.cancels = [cancel for cancel in server.cancels if cancel.place is not self.waiting_cancels]

    def cancel_arrived(self, server: Server, cancel: Client) -> None:
        """A cancel request has been delivered, or was given up."""
        if cancel in server.cancels:
            server.cancels.remove(cancel)
        if server.place is self.canceled_servers and not server.cancels and server.link is None:
            self.release(server)

    def _opened(self, server: Server) -> None:
        server.opened = True
        self.turnover.add("opened", "login")

    # A server goes -----------------------------------------------------------------------------------------

    def server_closes(self, server: Server, reason: str) -> None:
        """A server connection is being closed: takes it out of the pool, and its client with it."""
        place = server.place
        failed = place is self.new_servers and not server.ready and not server.close_needed
        if failed:
            self.login_failed = True
            self.connect_failed = True
            self.failure = reason
            self.turnover.add("failed", reason)
        elif place is self.new_servers or place is self.cancel_servers:
            self.connect_failed = False
        if server.opened:
            self.turnover.add("closed", reason)
        server.cancels.clear()
        server.leave()
        self.database.connections -= 1
        if self.credentials.user is not None:
            self.credentials.user.connections -= 1
        client = server.link
        if client is not None:
            server.link = None
            client.link = None
            client.server_lost(reason)
        if failed:
            self.note_reasons()
        self.registry.attend_soon(self)

    def fail_waiting(self, text: str, sqlstate: str) -> None:
        """Nobody can log in to the servers, so clients that wait for the first one would wait in vain."""
        if self.connected_servers() != 0 and self.welcome is not None:
            return
        for member in self.waiting_clients:
            client = cast(Client, member)
            client.wait_reason = SERVER_DOWN
            client.disconnect(text, True, sqlstate)

    def tag_dirty(self) -> None:
        """All its servers are closed as soon as they are free (RECONNECT, or a changed connect string)."""
        if self.database.admin:
            return
        self.welcome = None
        self.defaults = self.registry.parameters.empty
        for servers in self.server_lists():
            for server in servers:
                cast(Server, server).close_needed = True
        for server in self.new_servers:
            self._give_up_login(cast(Server, server), "connect string changed")

    def _give_up_login(self, server: Server, reason: str) -> None:
        """Closes a server on purpose: a login that was under way has not failed, and a replication client
        that it was for waits for another.
        """
        client = server.link
        if client is not None:
            client.link = None
            server.link = None
        server.close_needed = True
        server.disconnect(reason)

    # More servers ------------------------------------------------------------------------------------------

    def attend(self) -> None:
        """Does what the pool needs now: serves the line, has servers checked, opens new ones; or closes them
        while paused.
        """
        if self.database.admin:
            return
        if self.waiting_cancels.count > 0:
            self.launch()
        if self.paused:
            self._close_resting()
            return
        self.dispatch()
        missing = self.waiting_clients.count - self.tested_servers.count
        while missing > 0 and self.used_servers.count > 0:
            self._recheck()
            missing -= 1
        if missing > 0 and self.waiting_clients.count > 0:
            self.launch()

    def _close_resting(self) -> None:
        if self.registry.is_suspended:
            return
        resting = [*self.idle_servers, *self.used_servers]
        if self.waiting_cancels.count == 0:
            resting += self.new_servers
        for member in resting:
            self._give_up_login(cast(Server, member), "pause mode")

    def _recheck(self) -> None:
        """Takes a long unused server into use, after a check query if one is due."""
        server = cast(Server, self.used_servers.first)
        if not server.ready:
            server.disconnect("idle server got dirty")
            return
        policy = self.policy
        due = policy.check_query is not None
        if (
            policy.server_check_delay_ns > 0
            and monotonic_ns() - server.request_ns < policy.server_check_delay_ns
        ):
            due = False
        if not due:
            self.release(server)
            return
        server.move_last(self.tested_servers)
        server.check()

    def launch(self, evict: bool = True) -> None:
        """Opens one more server connection, if limits allow.

        One at a time, and after a failure not before `server_login_retry`.

        With `evict`, an unused connection of another pool is closed where that pool holds the last place of
        the database or of the user.
        """
        if self.new_servers.count > 0:
            return
        if self.connect_failed and monotonic_ns() - self.last_connect_ns < self.policy.server_login_retry_ns:
            return
        if self._cancel_may_exceed() or (
            self._below_pool_size(evict) and self.registry.make_room(self, evict)
        ):
            self.last_connect_ns = monotonic_ns()
            self.last_active_ns = self.last_connect_ns
            self.database.connections += 1
            if self.credentials.user is not None:
                self.credentials.user.connections += 1
            self.registry.connector.connect(self)

    def _cancel_may_exceed(self) -> bool:
        """A cancel request may take the pool up to twice its size, since it frees what blocks it."""
        return self.waiting_cancels.count > 0 and self.all_servers() < 2 * self.policy.pool_size

    def _below_pool_size(self, evict: bool) -> bool:
        size = self.policy.pool_size
        servers = self.all_servers()
        if size <= 0 or servers < size or (self.welcome is None and self.replication_in_turn() is None):
            return True
        if self._may_use_reserve(servers):
            return True
        # A replication client cannot have the idle server that another client would be given.
        while evict and self.replication_in_turn() is not None and self.all_servers() >= size:
            if not self.registry.evict([self]):
                return False
        return self.all_servers() < size

    def _may_use_reserve(self, servers: int) -> bool:
        """The first in line has waited `reserve_pool_timeout`, and the reserve is not used up."""
        first = self.waiting_clients.first
        policy = self.policy
        if (
            first is None
            or policy.reserve_pool_timeout_ns == 0
            or servers >= policy.pool_size + policy.reserve_pool_size
        ):
            return False
        client = cast(Client, first)
        if monotonic_ns() - client.request_ns < policy.reserve_pool_timeout_ns:
            return False
        self.registry.log.warning("taking connection from reserve_pool", client.describe())
        return True
