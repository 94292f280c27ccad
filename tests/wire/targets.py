"""What scripts are played on: PostgreSQL, and poolers in front of it that scenarios share."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from tests.support.bouncer import BouncerProcess, PoolerProcess, RealPgBouncer, find_pgbouncer
from tests.support.postgres import TemporaryPostgres
from tests.wire.parser import ALONE, FAKE_SERVER
from tests.wire.script import PGBOUNCER, POOLDECK, POSTGRESQL, TARGETS, Scenario, Version

_DATABASE_KEYS = {
    "pool_mode": "pool_mode",
    "default_pool_size": "pool_size",
    "connect_query": "connect_query",
    "user": "user",
}
"""Settings that become those of the scenario's own database, so that scenarios can share a pooler."""

_OURS = {"default_pool_size": "1", "pool_mode": "transaction"}
"""What holds if a script says nothing else: the pool in which a mistake shows soonest."""

_FOR_ALL = {"server_login_retry": 0.3, "log_connections": 0, "max_client_conn": 300}

_KINDS: dict[str, type[BouncerProcess]] = {POOLDECK: PoolerProcess, PGBOUNCER: RealPgBouncer}

_TRACEBACK = "Traceback (most recent call last)"


class Target:
    """A server that a scenario is played on: its name among the targets, where it is, what to ask it for."""

    def __init__(self, name: str, host: str, port: int, database: str, version: Version = ()) -> None:
        self.name = name
        self.host = host
        self.port = port
        self.database = database
        self.real_database = real_database(name)
        self.version = version
        self.bouncer: Bouncer | None = None
        self.listener: socket.socket | None = None

    def harm(self, may_end: bool) -> str:
        """Says that it has ended, or logged a traceback; empty if all is well."""
        return "" if self.bouncer is None else self.bouncer.harm(may_end)


class Bouncer:
    """A pooler with one database for each scenario that shares it."""

    def __init__(self, kind: str, scenarios: Iterable[Scenario], postgres_port: int) -> None:
        self._kind = kind
        self._listeners: dict[str, socket.socket] = {}
        self._postgres_port = postgres_port
        self._own: dict[str, dict[str, str]] = {}
        settings: dict[str, object] = dict(_FOR_ALL)
        for scenario in scenarios:
            own = {key: value for key, value in scenario.settings.items() if key in _DATABASE_KEYS}
            name = database_name(kind, scenario)
            self._own[name] = {**_OURS, **own}
            if FAKE_SERVER in scenario.settings:
                self._listeners[name] = socket.create_server(("127.0.0.1", 0))
            settings |= shared_settings(scenario)
        lines = {name: self._line(name) for name in self._own}
        self.process = _KINDS[kind](lines, settings=settings)
        self._log_read = 0

    def start(self) -> None:
        self.process.start()

    def stop(self) -> None:
        self.process.stop()
        for listener in self._listeners.values():
            listener.close()

    def listener(self, scenario: Scenario) -> socket.socket | None:
        """Where the scenario's fake server listens; None if it has the real one."""
        return self._listeners.get(database_name(self._kind, scenario))

    def configure(self, scenario: Scenario, key: str, value: str) -> None:
        """Writes a setting into the file: of the scenario's database, or of the whole pooler."""
        name = database_name(self._kind, scenario)
        if key not in _DATABASE_KEYS:
            self.process.configure(**{key: value})
            return
        self._own[name][key] = value
        self.process.databases[name] = self._line(name)
        self.process.configure()

    def harm(self, may_end: bool) -> str:
        log = self.process.log_text()
        new, self._log_read = log[self._log_read :], len(log)
        status = self.process.process.poll()
        if status is not None and (status != 0 or not may_end):
            return f"it ended with status {status}:\n{new[-2000:]}"
        return f"it logged a traceback:\n{new}" if _TRACEBACK in new else ""

    def _line(self, name: str) -> str:
        listener = self._listeners.get(name)
        port = self._postgres_port if listener is None else listener.getsockname()[1]
        own = {_DATABASE_KEYS[key]: _quoted(value) for key, value in self._own[name].items()}
        words = {"host": "127.0.0.1", "port": port, "dbname": real_database(self._kind), **own}
        return " ".join(f"{key}={value}" for key, value in words.items())


class Targets:
    """All targets of a test run. Poolers are started when they are needed, and stopped with it."""

    def __init__(self, postgres: TemporaryPostgres, scenarios: Iterable[Scenario]) -> None:
        self.postgres = postgres
        self._scenarios = list(scenarios)
        self._pgbouncer_version = pgbouncer_version()
        self._bouncers: dict[tuple[str, str], Bouncer] = {}
        self._stack = ExitStack()
        for name in TARGETS:
            self._create_database(real_database(name))

    def versions(self) -> dict[str, Version]:
        """The targets by name, in the order in which they are played."""
        return {POSTGRESQL: (), PGBOUNCER: self._pgbouncer_version, POOLDECK: ()}

    def get(self, name: str, scenario: Scenario) -> Target:
        """The target of that name, ready for the scenario."""
        if name == POSTGRESQL:
            return Target(name, "127.0.0.1", self.postgres.port, real_database(name))
        bouncer = self._bouncer(name, scenario)
        process = bouncer.process
        version = self.versions()[name]
        target = Target(name, process.host, process.port, database_name(name, scenario), version)
        target.bouncer = bouncer
        target.listener = bouncer.listener(scenario)
        return target

    def release(self, target: Target, scenario: Scenario) -> None:
        """The scenario is over; a pooler that was its own, or that has ended, is of no more use."""
        bouncer = target.bouncer
        if bouncer is None:
            return
        if ALONE in scenario.settings or bouncer.process.process.poll() is not None:
            del self._bouncers[target.name, sharing_key(scenario)]
            bouncer.stop()

    def close(self) -> None:
        self._stack.close()

    def _create_database(self, name: str) -> None:
        if not self.postgres.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'"):
            self.postgres.sql(f"CREATE DATABASE {name}")

    def _bouncer(self, kind: str, scenario: Scenario) -> Bouncer:
        key = sharing_key(scenario)
        found = self._bouncers.get((kind, key))
        if found is None:
            version = self.versions()[kind]
            sharing = [
                other
                for other in self._scenarios
                if sharing_key(other) == key and other.is_played_on(kind, version)
            ]
            found = self._bouncers[kind, key] = Bouncer(kind, sharing, self.postgres.port)
            self._stack.callback(found.stop)
            found.start()
        return found


def shared_settings(scenario: Scenario) -> Mapping[str, str]:
    """The settings that it shares with others on the same pooler."""
    ours = {*_DATABASE_KEYS, FAKE_SERVER, ALONE}
    return {key: value for key, value in scenario.settings.items() if key not in ours}


def sharing_key(scenario: Scenario) -> str:
    """Scenarios with the same key share their poolers."""
    alone = scenario.id if ALONE in scenario.settings else ""
    return alone + repr(sorted(shared_settings(scenario).items()))


def real_database(target: str) -> str:
    """The database of PostgreSQL behind a target: each has one, so that they can be played side by side."""
    return f"wire_{target}"


def database_name(kind: str, scenario: Scenario) -> str:
    """What the scenario's database is called on a pooler: no other scenario has it, and no other pooler.

    It is as long on each, since lengths are to be seen in some messages.
    """
    return f"{scenario.path.stem[0]}{scenario.line}_{scenario.settings['pool_mode']}_{kind[:2]}"


def pgbouncer_version() -> Version:
    """The version of the real PgBouncer; empty when there is none."""
    program = find_pgbouncer()
    if program is None:
        return ()
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"PgBouncer (\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else ()


def _quoted(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"
