"""One pooler: everything that a process has of it hangs off the `Pooler` object."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime
from typing import Any

from pooler.admin.audit import Audit
from pooler.admin.host import Change
from pooler.admin.pauses import PauseClaims
from pooler.admin.session import AdminSession, console_welcome
from pooler.auth.external import ExternalAuth
from pooler.config.errors import ConfigError
from pooler.config.save import Saved
from pooler.config.settings import SETTINGS, Settings, word_list
from pooler.config.snapshot import ConfigErrors, Snapshot, load, reloaded, unsupported, unsupported_value
from pooler.config.userlist import Userlist, UserlistFile
from pooler.pool.maintenance import PERIOD, maintain
from pooler.pool.registry import Pause, Registry, Shutdown
from pooler.pool.stats import averages
from pooler.relay.client import ClientConnection, ClientPhase
from pooler.relay.connector import ServerConnector
from pooler.relay.context import Context
from pooler.relay.server import ServerConnection
from pooler.relay.tasks import install
from pooler.service import dns
from pooler.service.accept import Acceptor
from pooler.service.access import Access, load_access
from pooler.service.changes import other_files, saved_snapshot
from pooler.service.log import Log, LogError
from pooler.service.process import notify_status
from pooler.service.sockets import Listener, tune_accept, tune_socket
from pooler.service.tls import expiring
from pooler.service.version import VERSION_LINE
from pooler.service.worker import Worker
from pooler.wire.parameters import TrackedParameters

ACCESS_SETTINGS = ("client_tls", "server_tls", "auth_type", "auth_hba", "auth_ident", "auth_ldap")
"""Beginnings of the names of settings that come with files."""

DAY = 86_400.0
"""Seconds."""

NOT_APPLIED = "TLS settings could not be applied, still using old configuration"


class Pooler:
    """Pools connections on one event loop, from `start` to the end of `run_until_shutdown`.

    It is also what the admin console acts on (`pooler.admin.host.AdminHost`).
    """

    def __init__(
        self,
        config_path: str,
        snapshot: Snapshot,
        log: Log,
        loop: asyncio.AbstractEventLoop,
        quiet: bool = False,
    ) -> None:
        self.config_path = config_path
        self.log = log
        self.quiet = quiet
        self.audit = Audit(log)
        self.pauses = PauseClaims()
        self._values_set: dict[str, str] = {}
        self._loop = loop
        settings = snapshot.settings
        tracked = TrackedParameters(word_list(settings.track_extra_parameters))
        self.registry = Registry(snapshot, tracked, log, loop.call_soon)
        self.context = Context(self.registry, secrets.token_bytes(32))
        self._resolver = dns.Resolver(
            loop, lambda: self.registry.settings, log, on_change=self._addresses_gone
        )
        connector = ServerConnector(self.context, loop, _Addresses(self._resolver), tune_socket)
        self.registry.connector = connector
        self.context.carry_cancel = connector.carry_cancel
        self.context.console = self._console
        self.context.call_later = loop.call_later
        self.context.console_welcome = lambda key, own: console_welcome(key, self.registry.settings, own)
        install(self.context)
        self.context.external = ExternalAuth(loop.call_soon_threadsafe, loop.call_later)
        self._userlist: UserlistFile | None = None
        self._access = load_access(settings, config_path)
        self._access.take_effect(self.context)
        self._warn_of_access(None)
        self._acceptor = Acceptor(self.context, loop, [])
        self._worker = Worker(loop.call_soon_threadsafe)
        self._finished = loop.create_future()
        self._timers: list[asyncio.TimerHandle] = []
        self._suspended_at = 0.0
        self._take_users(*self._read_users(settings.auth_file))

    # Life --------------------------------------------------------------------------------------------------

    async def start(self, listeners: list[Listener]) -> None:
        """Serves clients from these sockets from now on."""
        self._acceptor = Acceptor(self.context, self._loop, listeners)
        await self._acceptor.start()
        self._every(lambda: PERIOD, self._maintain)
        self._every(lambda: DAY, self._warn_of_expiry)
        self._every(lambda: float(max(1, self.registry.settings.stats_period)), self._stats_period)

    async def run_until_shutdown(self) -> None:
        """Returns when SHUTDOWN, or a signal, has taken effect."""
        await self._finished

    def close(self) -> None:
        """Closes everything that is open."""
        for timer in self._timers:
            timer.cancel()
        self._acceptor.close()
        self.registry.shutdown = Shutdown.IMMEDIATE
        log = self.registry.settings.log_disconnections
        for client in list(self.registry.clients()):
            client.disconnect("" if not log else "pooler is shutting down", notify=False)
        for server in list(self.registry.servers()):
            server.disconnect("pooler is shutting down")
        self._resolver.close()
        self.context.external.close()
        self._worker.close()

    def _every(self, seconds: Callable[[], float], work: Callable[[], None]) -> None:
        def again() -> None:
            self._timers = [
                timer for timer in self._timers if not timer.cancelled() and timer.when() > self._loop.time()
            ]
            self._timers.append(self._loop.call_later(seconds(), again))
            work()

        self._timers.append(self._loop.call_later(seconds(), again))

    def _maintain(self) -> None:
        maintain(self.registry)
        if self.registry.pause is Pause.SUSPEND:
            self._watch_suspension()
        self._maybe_finish()

    def _stats_period(self) -> None:
        registry = self.registry
        registry.rotate_stats()
        now, before = registry.totals()
        mean = averages(now.minus(before), registry.stats_seconds())
        text = (
            f"stats: {mean.xact_count} xacts/s, {mean.query_count} queries/s,"
            f" {mean.client_parse_count} client parses/s, {mean.server_parse_count} server parses/s,"
            f" {mean.bind_count} binds/s, {mean.client_login_count} client logins/s,"
            f" in {mean.client_bytes} B/s, out {mean.server_bytes} B/s,"
            f" xact {mean.xact_time} us, query {mean.query_time} us, wait {mean.wait_time} us"
        )
        if registry.settings.log_stats:
            self.log.info(text)
        notify_status(text.replace(" us", " μs"))

    # Shutting down -----------------------------------------------------------------------------------------

    def shutdown(self, mode: Shutdown) -> None:
        """Goes down: at once, or when servers or clients are through."""
        self.registry.shutdown = mode
        if mode is Shutdown.IMMEDIATE:
            self._finish()
            return
        if mode is Shutdown.WAIT_FOR_SERVERS:
            self.registry.set_pause(Pause.PAUSE)
        self._acceptor.close_tcp()

    def _maybe_finish(self) -> None:
        registry = self.registry
        if registry.shutdown is Shutdown.WAIT_FOR_SERVERS and next(registry.servers(), None) is None:
            self.log.info("server connections dropped, exiting")
            self._finish()
        elif registry.shutdown is Shutdown.WAIT_FOR_CLIENTS and registry.client_count == 0:
            self.log.info("client connections dropped, exiting")
            self._finish()

    def _finish(self) -> None:
        self.registry.shutdown = Shutdown.IMMEDIATE
        if not self._finished.done():
            self._finished.set_result(None)

    # SUSPEND -----------------------------------------------------------------------------------------------

    def suspend(self) -> None:
        """Stops reading from everybody, so that all that is under way can drain."""
        self._suspended_at = self._loop.time()
        self.registry.set_pause(Pause.SUSPEND)
        self._acceptor.suspend()
        for client in self.data_clients():
            client.hold_reading()
        for server in self.registry.servers():
            assert isinstance(server, ServerConnection)
            server.hold_reading()

    def is_drained(self) -> bool:
        """Nothing is left in a buffer of the pooler."""
        return not any(client.unsent() for client in self.data_clients()) and not any(
            server.unsent() for server in self.registry.servers() if isinstance(server, ServerConnection)
        )

    def resume_from_suspend(self) -> None:
        """Reads from everybody again."""
        self.registry.set_pause(Pause.NONE)
        for client in self.data_clients():
            if client.link is None or not client.link.congested:
                client.release_reading()
        for server in self.registry.servers():
            if server.link is None or not server.link.congested:
                server.resume_reading()
        self._loop.create_task(self._acceptor.start())

    def data_clients(self) -> list[ClientConnection]:
        admin = self.registry.admin_pool
        return [
            client
            for client in self.registry.clients()
            if isinstance(client, ClientConnection) and client.pool is not admin
        ]

    def _watch_suspension(self) -> None:
        """`suspend_timeout` closes what does not drain; without an admin connection nobody could RESUME."""
        if self.registry.admin_pool.active_clients.count == 0:
            self.log.info("admin disappeared when suspended, doing RESUME")
            self.resume_from_suspend()
            return
        timeout = self.registry.settings.suspend_timeout
        if timeout > 0 and self._loop.time() - self._suspended_at >= timeout:
            for client in self.data_clients():
                if client.unsent():
                    client.disconnect("suspend_timeout")
            for server in list(self.registry.servers()):
                if isinstance(server, ServerConnection) and server.unsent():
                    server.disconnect("suspend_timeout")
        self.registry.check_waits()

    # Configuration -----------------------------------------------------------------------------------------

    def reload(self) -> None:
        """Reads the configuration file again (RELOAD, SIGHUP).

        Raises ConfigErrors, and then no setting has changed.

        The log file is opened anew in any case: whoever rotated it away sent the SIGHUP for that.
        """
        try:
            fresh = self.read_config()
            access = load_access(fresh.settings, self.config_path, self._access)
            users = self._read_users(fresh.settings.auth_file)
            _check_users(*users)
        except ConfigErrors:
            self._reopen_log()
            raise
        self._values_set.clear()
        self.registry.apply(reloaded(self.registry.snapshot, fresh))
        self._change_access(access)
        self._take_users(*users)
        self._settings_changed(reopen_log=True)

    def preview_reload(self) -> tuple[Snapshot, list[Change]]:
        """What `reload` would read, and what is new in the files besides the configuration; nothing changes.
        Raises ConfigErrors.
        """
        fresh = self.read_config()
        access = load_access(fresh.settings, self.config_path, self._access)
        _check_users(*self._read_users(fresh.settings.auth_file))
        return fresh, other_files(self.registry, self._access, access, fresh.settings.auth_file)

    def values_set(self) -> dict[str, str]:
        """What was SET since the last RELOAD."""
        return self._values_set

    def save_config(self) -> tuple[list[Saved], list[str]]:
        """Writes what was SET into the configuration file (SAVE CONFIG), and gives that and the backups.

        Raises EditRefused and OSError, and ConfigErrors if the files that it names do not fit together.
        """
        saved, backups, self.registry.snapshot = saved_snapshot(
            self.registry,
            self._values_set,
            lambda settings: load_access(settings, self.config_path, self._access),
        )
        self._values_set.clear()
        return saved, backups

    def read_config(self) -> Snapshot:
        """The configuration file as it is now. Raises ConfigErrors."""
        fresh = load(self.registry.settings.conffile or self.config_path)
        refused = unsupported(fresh)
        if refused:
            raise ConfigErrors(refused)
        return fresh

    def _reopen_log(self) -> None:
        try:
            self.log.reopen()
        except LogError as error:
            self.log.error(str(error))

    def _change_access(self, access: Access) -> None:
        before, self._access = self._access, access
        access.take_effect(self.context)
        if access.tls.servers is not before.tls.servers:
            for pool in self.registry.pools.values():
                pool.tag_dirty()
        self._warn_of_access(before)

    def log_lines(self) -> list[tuple[int, str, str, str]]:
        """Number, time, level and text of the last lines of the log."""
        return list(self.log.recent)

    def certificates(self) -> list[tuple[str, str, str, datetime]]:
        """Setting, file, subject and end of every TLS certificate in use."""
        encryption = self._access.tls
        used = dict.fromkeys((*encryption.clients.certificates, *encryption.servers.certificates))
        return [(one.setting, one.file, one.subject, one.not_after) for one in used]

    def _warn_of_access(self, before: Access | None) -> None:
        """What is new and looks wrong: certificates that expire soon, rules that never apply."""
        access = self._access
        if before is None or access.tls is not before.tls:
            for text in (*access.tls.clients.warnings, *access.tls.servers.warnings):
                self.log.warning(text)
        self._warn_of_expiry()
        for warning in access.hba.warnings if access.hba is not None else ():
            self.log.warning(str(warning))

    def _warn_of_expiry(self) -> None:
        now = datetime.now(UTC)
        for used in expiring(self._access.tls, now):
            days = used.days_left(now)
            when = f"expires in {days} days" if days >= 0 else "has expired"
            self.log.warning(f"{used.setting}: the certificate of {used.subject} in {used.file} {when}")

    def set_setting(self, name: str, text: str) -> str | None:
        """Changes a setting until the next RELOAD (SET). Raises KeyError for an unknown one, ValueError for a
        bad value and for what takes a restart. Returns what keeps it from having an effect yet, if anything
        does.
        """
        changed = self.registry.settings.replace(name, text)
        refusal = unsupported_value(name, text)
        if refusal:
            raise ValueError(refusal)
        if not SETTINGS[name].reloadable:
            raise ValueError(f"{name} cannot be changed while the pooler runs: that takes a restart")
        access, notice = self._access_with(changed, name)
        self._values_set[name] = text
        self.registry.settings = changed
        self.registry.reconfigure()
        self._settings_changed(reopen_log=name.startswith(("log", "syslog", "verbose")))
        if access is not None:
            self._change_access(access)
        return notice

    def _access_with(self, changed: Settings, name: str) -> tuple[Access | None, str | None]:
        """What SET of `name` makes of the files that decide who comes in, if anything, and what the admin is
        told. Raises ValueError for a method that cannot work: nobody would get in to take it back.
        """
        if not name.startswith(ACCESS_SETTINGS):
            return None, None
        try:
            return load_access(changed, self.config_path, self._access), None
        except ConfigErrors as errors:
            if name == "auth_type":
                raise ValueError(str(errors)) from None
            self.log.error(str(errors))
            return None, NOT_APPLIED

    def _settings_changed(self, reopen_log: bool) -> None:
        settings = self.registry.settings
        self.context.configure()
        if reopen_log:
            try:
                self.log.configure(settings, self.quiet)
            except LogError as error:
                self.log.error(str(error))
        for listener in self._acceptor.listeners:
            if not listener.is_unix:
                with contextlib.suppress(OSError):
                    tune_socket(listener.sock, settings, False)
                tune_accept(listener.sock, bool(settings.tcp_defer_accept), self.log)

    def _read_users(self, path: str | None) -> tuple[UserlistFile | None, Userlist | None]:
        """`auth_file`, and what is in it unless it is as it was taken last. If it cannot be opened, the users
        stay as they are.
        """
        if not path:
            return self._userlist, None
        last = self._userlist
        file = UserlistFile(path) if last is None or last.path != path else copy(last)
        try:
            return file, file.load_if_changed()
        except OSError as error:
            self.log.error(f"could not open auth_file {path}: {error.strerror}")
            return file, None

    def _take_users(self, file: UserlistFile | None, userlist: Userlist | None) -> None:
        self._userlist = file
        if file is None or userlist is None:
            return
        if userlist.error:
            self.log.error(f"{file.path}:{userlist.error_line}: {userlist.error}")
        self.registry.apply_secrets(userlist.users)

    # What the console asks for -----------------------------------------------------------------------------

    def _console(self, client: ClientConnection, is_admin: bool) -> ClientPhase:
        return AdminSession(client, self, is_admin)

    def in_thread(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Does `work` where it holds nobody up, one after the other, then calls `done` on the loop."""
        self._worker.submit(work, done)

    def version_line(self) -> str:
        """SHOW VERSION."""
        return VERSION_LINE

    def dns_rows(self) -> list[tuple[str, int, str]]:
        """SHOW DNS_HOSTS."""
        return [(row.hostname, row.ttl, row.addrs) for row in self._resolver.rows()]

    def dns_counts(self) -> tuple[int, int, int, int]:
        """Names, zones, queries and pending lookups, for SHOW LISTS."""
        counts = self._resolver.counts()
        return counts.names, counts.zones, counts.queries, counts.pending

    def listener_fds(self) -> list[tuple[int, str, int]]:
        """Descriptor, address and port of what it listens on, for SHOW FDS."""
        found: list[tuple[int, str, int]] = []
        for listener in self._acceptor.listeners:
            if listener.is_unix:
                found.append((listener.sock.fileno(), "unix", self.registry.settings.listen_port))
            else:
                name = listener.sock.getsockname()
                found.append((listener.sock.fileno(), str(name[0]), int(name[1])))
        return found

    @property
    def port(self) -> int:
        """The TCP port that clients can connect to, 0 if there is none."""
        return next((port for _, host, port in self.listener_fds() if host != "unix"), 0)

    def _addresses_gone(self, host: str, gone: list[dns.Address]) -> None:
        hosts = {found.host for found in gone}
        for server in self.registry.servers():
            if (
                isinstance(server, ServerConnection)
                and server.target.host == host
                and server.remote.host in hosts
            ):
                server.close_needed = True


def _check_users(file: UserlistFile | None, userlist: Userlist | None) -> None:
    """Raises ConfigErrors if part of the file cannot be read: users who are in that part would be gone."""
    if file is not None and userlist is not None and userlist.error:
        raise ConfigErrors((ConfigError(file.path, userlist.error_line, userlist.error),))


class _Addresses:
    """The resolver, as the connector wants it."""

    def __init__(self, resolver: dns.Resolver) -> None:
        self._resolver = resolver

    async def address_of(self, host: str, port: int) -> tuple[int, Any]:
        try:
            found = (await self._resolver.resolve(host))[0]
        except dns.LookupFailed as error:
            raise OSError(str(error)) from None
        if found.family == socket.AF_INET6:
            name, _, scope = found.host.partition("%")
            index = 0
            if scope:
                index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
            return found.family, (name, port, 0, index)
        return found.family, (found.host, port)


def descriptors_of(settings: Settings, snapshot: Snapshot) -> list[tuple[int, bool]]:
    """For each database its pool size and whether its user is forced, to estimate how many descriptors may be
    needed.
    """
    return [
        (
            settings.default_pool_size if config.pool_size is None else config.pool_size,
            config.user is not None,
        )
        for config in snapshot.databases.values()
    ]
