"""Why clients wait, in one line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_admin import client, database, pairs, pool, table
from tests.unit.console_watch.moments import OURS, STOCK, counted, moment, state
from tui.admin.capabilities import Capabilities
from tui.admin.table import Table
from tui.watch.alerts import Alert
from tui.watch.diagnosis import MANY_CLIENTS
from tui.watch.lookout import ASK_SECONDS, Lookout
from tui.watch.rules import AlertKey
from tui.watch.thresholds import AlertThresholds

FULL: dict[str, Any] = {"cl_active": 20, "cl_waiting": 3, "sv_active": 20, "maxwait": 6}
QUESTION = (
    "SHOW CLIENTS WHERE database = 'app' AND \"user\" = 'web' AND state = 'active' AND wait = 0"
    " AND wait_us = 0 ORDER BY request_time LIMIT 1000"
)


def wait(reason: str, **values: Any) -> Table:
    """SHOW WAITS with two clients in line."""
    row = {
        "id": 300,
        "user": "web",
        "database": "app",
        "addr": "10.0.0.7",
        "port": 4000,
        "application_name": "shop",
        "reason": reason,
        "detail": None,
        "wait_us": 6_000_000,
        "server_id": 17,
        "held_us": 41_000_000,
        "holder_state": "running",
        "holder_id": 127,
        "holder_user": "web",
        "holder_addr": "10.0.0.7",
        "holder_application_name": "",
    }
    other = {**row, "database": "shop", "reason": "server down", "wait_us": 9_000_000}
    return table(other, {**row, **values}, {**row, "id": 301, "wait_us": 100})


def idle(*numbers: int) -> Table:
    """Clients that have a server and no query."""
    times = [f"2026-03-01 11:59:{number % 60:02} UTC" for number in numbers]
    return table(
        *(client(number, link="0x1", request_time=time) for number, time in zip(numbers, times, strict=True))
    )


class Watch:
    """A lookout on a pooler, with a clock of its own."""

    def __init__(self, capabilities: Capabilities = OURS) -> None:
        self.now = 1000.0
        self.capabilities = capabilities
        self.lookout = Lookout(AlertThresholds(), lambda: self.now)

    def see(self, times: int = 1, **tables: Table | None) -> None:
        for _ in range(times):
            self.now += 1
            self.lookout.add(moment(self.now, self.capabilities, **tables))

    def pool(self, times: int = 1, tables: dict[str, Table | None] | None = None, **values: Any) -> None:
        self.see(times, POOLS=table(pool(**{**FULL, **values})), **(tables or {}))

    def alert(self, kind: str = "waiting") -> Alert:
        return next(alert for alert in self.lookout.alarms.active if alert.key.kind == kind)

    def why(self, kind: str = "waiting") -> str:
        return self.lookout.explain(self.alert(kind))


def test_an_application_that_holds_transactions() -> None:
    watch = Watch()
    watch.pool(tables={"WAITS": wait("pool full", holder_state="idle in transaction")})
    assert watch.lookout.questions() == {("app", "web"): QUESTION}
    watch.lookout.learn(("app", "web"), idle(*range(100, 118)))
    assert watch.why() == (
        "app holds transactions: 18 of 20 servers idle in transaction, oldest 41 s,"
        " client 127 user web from 10.0.0.7"
    )


FORCED = database(force_user="web")
"""All clients of the database go to the server as `web`, and log in as somebody else."""


def test_clients_of_a_forced_user_are_those_of_its_pool() -> None:
    watch = Watch()
    waits = wait("pool full", user="ana", holder_user="ana", holder_state="idle in transaction")
    watch.see(3, POOLS=table(pool(**FULL)), WAITS=waits, DATABASES=table(FORCED))
    (question,) = watch.lookout.questions().values()
    assert question == QUESTION.replace(" AND \"user\" = 'web'", "")
    watch.lookout.learn(("app", "web"), idle(*range(100, 118)))
    assert watch.why() == (
        "app holds transactions: 18 of 20 servers idle in transaction, oldest 41 s,"
        " client 127 user ana from 10.0.0.7"
    )


def test_clients_of_a_forced_user_of_a_stock_pooler() -> None:
    watch = Watch(STOCK)
    clients = table(*(client(number, user="ana", link="0x1") for number in range(18)))
    full = {"POOLS": table(pool(**FULL)), "DATABASES": table(FORCED), "LISTS": pairs(("list", "items"), {})}
    watch.see(3, CLIENTS=clients, **full)
    assert watch.why().startswith(
        "app holds transactions: 18 of 20 servers idle in transaction, oldest since"
    )


def test_before_the_clients_were_asked_for_nobody_knows_how_many() -> None:
    watch = Watch()
    watch.pool(tables={"WAITS": wait("pool full", holder_state="idle in transaction")})
    assert watch.why() == "app holds transactions: oldest 41 s, client 127 user web from 10.0.0.7"


def test_most_servers_idle_in_transaction_is_the_reason_though_the_oldest_runs() -> None:
    watch = Watch()
    watch.pool(tables={"WAITS": wait("reserve_pool_timeout", holder_application_name="etl")})
    watch.lookout.learn(("app", "web"), idle(*range(15)))
    assert watch.why() == (
        "app holds transactions: 15 of 20 servers idle in transaction, oldest 41 s,"
        " client 127 user web from 10.0.0.7 (etl)"
    )


def test_a_few_idle_ones_are_not_the_reason() -> None:
    watch = Watch()
    watch.pool(tables={"WAITS": wait("pool full")})
    watch.lookout.learn(("app", "web"), idle(1, 2))
    assert watch.why() == "20 servers at work, oldest 41 s, client 127 user web from 10.0.0.7"


def test_sessions_that_keep_their_servers() -> None:
    watch = Watch()
    watch.pool(tables={"WAITS": wait("pool full", holder_state="idle")}, pool_mode="session")
    watch.lookout.learn(("app", "web"), idle(*range(20)))
    assert watch.why().startswith(
        "sessions keep their servers: 20 of 20 servers without a query, oldest 41 s"
    )


@pytest.mark.parametrize(
    ("table", "line"),
    [
        (wait("paused", detail="PAUSE"), "it is paused (PAUSE): RESUME lets clients go on"),
        (wait("server down", detail="connect failed"), "the server cannot be reached: connect failed"),
        (wait("server down"), "the server cannot be reached: see the log"),
        (wait("server login", held_us=2_500_000), "a server is being logged in to, for 2.5 s now"),
        (wait("server check", held_us=None), "a server is being reset or checked, for 0 s now"),
        (
            wait("max_db_connections"),
            "max_db_connections reached; 20 servers at work, oldest 41 s, client 127 user web from 10.0.0.7",
        ),
        (wait("pool full", holder_state=None), "20 servers at work"),
    ],
)
def test_reasons_that_the_pooler_gives(table: Table, line: str) -> None:
    watch = Watch()
    watch.pool(tables={"WAITS": table})
    assert watch.why() == line


def test_queries_that_have_become_slow() -> None:
    watch = Watch()
    total = 0.0
    for queries in range(200):
        total += 20_000 if queries < 165 else 240_000
        watch.pool(tables={"STATS": table(counted(queries=queries, query_us=total, xacts=1, xact_us=total))})
    assert watch.why() == "queries have become slow: 240 ms on average, 20 ms before"


def test_waiting_makes_no_query_slow() -> None:
    watch = Watch()
    total = waits = 0.0
    for queries in range(200):
        total += 20_000 if queries < 165 else 240_000
        waits += 0 if queries < 165 else 220_000
        row = counted(queries=queries, query_us=total, wait_us=waits, xacts=1, xact_us=total)
        watch.pool(tables={"STATS": table(row)})
    assert watch.why() == "20 servers at work, a query takes 20 ms"


def test_a_stock_pooler_is_asked_for_its_clients_only_while_there_is_an_alert_and_they_are_few() -> None:
    watch = Watch(STOCK)
    watch.see()
    assert watch.lookout.wanted == frozenset()
    watch.pool()
    assert watch.lookout.wanted == {"CLIENTS"}
    assert watch.lookout.questions() == {}
    many = pairs(("list", "items"), {"used_clients": MANY_CLIENTS + 1})
    watch.pool(tables={"LISTS": many})
    assert watch.lookout.wanted == frozenset()
    own = Watch()
    own.pool()
    assert own.lookout.wanted == frozenset()


def test_by_the_clients_of_a_stock_pooler() -> None:
    clients = table(
        *(client(number, link="0x1", request_time=f"2026-03-01 11:5{number}:07 UTC") for number in range(3)),
        client(7, link="0x1", wait=3),
        client(8, state="waiting"),
        client(9, state="active"),  # before 1.25 it is idle
        client(10, user="other", link="0x1"),
    )
    watch = Watch(STOCK)
    watch.pool(tables={"CLIENTS": clients}, sv_active=4)
    assert watch.why() == (
        "app holds transactions: 3 of 4 servers idle in transaction, oldest since 11:50:07,"
        " client 0 user web from 10.0.0.7 (shop)"
    )


def test_an_old_release_has_no_ids() -> None:
    row = {name: value for name, value in client(1, link="0x1").items() if name != "id"}
    watch = Watch(STOCK)
    watch.pool(tables={"CLIENTS": table(row)}, sv_active=1)
    assert watch.why().endswith("oldest since 11:59:58, a client user web from 10.0.0.7 (shop)")


def test_clients_that_were_read_long_ago_explain_nothing() -> None:
    watch = Watch(STOCK)
    watch.pool(tables={"CLIENTS": idle(*range(20))})
    before = watch.lookout.moment
    assert before is not None
    watch.now += 100
    now = moment(watch.now, STOCK, POOLS=before.tables["POOLS"], CLIENTS=before.tables["CLIENTS"])
    now.read_at["CLIENTS"] = before.at  # type: ignore[index]
    watch.lookout.add(now)
    assert watch.why() == "20 servers at work"


def test_without_clients_the_share_of_time_tells() -> None:
    watch = Watch(STOCK)
    for number in range(5):
        row = counted(queries=number, xacts=number, query_us=number * 1e5, xact_us=number * 1e6)
        watch.pool(tables={"STATS": table(row)})
    assert watch.why() == "app holds transactions: idle for 90% of their time"


@pytest.mark.parametrize(
    ("values", "tables", "line"),
    [
        ({"sv_active": 0, "sv_login": 2}, {}, "the server lets nobody in: 2 logins under way"),
        ({"sv_active": 0}, {}, "the server lets nobody in: no login under way"),
        ({"sv_active": 5, "sv_idle": 3}, {}, "3 servers free, yet clients wait: a limit (max_db_connections"),
        (
            {"sv_active": 5},
            {"DATABASES": table(database(max_connections=8, current_connections=8))},
            "max_db_connections (8) reached; 5 servers at work",
        ),
        ({}, {}, "20 servers at work"),
    ],
)
def test_rules_for_a_stock_pooler(values: dict[str, Any], tables: dict[str, Any], line: str) -> None:
    watch = Watch(STOCK)
    watch.pool(tables=tables, **values)
    assert watch.why().startswith(line)


def test_a_pool_without_a_server_is_explained_too() -> None:
    watch = Watch(STOCK)
    watch.pool(5, sv_active=0)
    assert watch.why("logins") == "the server lets nobody in: no login under way, the pooler's log says why"


def test_what_to_do_about_a_pause() -> None:
    watch = Watch()
    watch.see(STATE=state("paused"))
    assert watch.why("paused") == "RESUME lets clients go on"
    watch = Watch()
    watch.see(DATABASES=table(database(paused=1, disabled=1)))
    assert watch.why("paused") == "RESUME app lets clients go on"
    assert watch.why("disabled") == "ENABLE app lets new clients in; those that are in stay"


def test_who_has_the_clients() -> None:
    pools = table(
        *(pool(f"db{number}", cl_active=number) for number in range(5)),
        pool("pgbouncer", "pgbouncer", cl_active=500),
    )
    watch = Watch()
    watch.see(POOLS=pools, LISTS=pairs(("list", "items"), {"used_clients": 95}))
    assert watch.why("clients") == "db4/web has 4, db3/web has 3, db2/web has 2"


def test_the_last_error() -> None:
    def errors(count: int) -> Table:
        columns = ("database", "user", "source", "code", "count", "last_message", "last_time")
        return Table(
            columns,
            [
                ("app", "web", "pooler", "08P01", count, "pool is [red]", "2026-03-01 12:00:05 UTC"),
                ("app", "web", "pooler", "query_timeout", 1, "", "2026-03-01 12:00:01 UTC"),
            ],
        )

    watch = Watch()
    watch.see(ERRORS=errors(1))
    watch.see(ERRORS=errors(50))
    assert watch.why("errors") == "the last one: pool is [red]"


def test_names_cannot_break_out_of_a_question() -> None:
    watch = Watch()
    watch.see(POOLS=table(pool("a'b", "' OR '1'='1", **FULL)))
    (question,) = watch.lookout.questions().values()
    assert "database = 'a''b' AND \"user\" = ''' OR ''1''=''1'" in question


def test_questions_are_not_asked_all_the_time_and_about_the_worst_pools_alone() -> None:
    watch = Watch()
    pools = table(*(pool(f"db{number}", **{**FULL, "maxwait": number + 1}) for number in range(9)))
    watch.see(POOLS=pools)
    assert len(watch.lookout.questions()) == 3
    assert watch.lookout.questions() == {}
    watch.now += ASK_SECONDS
    assert len(watch.lookout.questions()) == 3


def test_what_was_learnt_is_forgotten_with_the_alert() -> None:
    watch = Watch()
    watch.pool()
    watch.lookout.questions()
    watch.lookout.learn(("app", "web"), idle(*range(20)))
    watch.see(5)
    watch.now += ASK_SECONDS
    assert watch.lookout.questions() == {}
    watch.pool()
    assert watch.why() == "20 servers at work"


def test_a_pool_that_has_gone_has_no_reason() -> None:
    watch = Watch()
    watch.pool()
    watch.see(POOLS=table(pool("shop")))
    assert watch.why() == ""


def test_nothing_is_known_before_the_first_moment() -> None:
    lookout = Lookout(AlertThresholds())
    key = AlertKey("waiting", "app", "web")
    watch = Watch()
    watch.pool()
    assert watch.alert().key == key
    assert (lookout.wanted, lookout.questions(), lookout.explain(watch.alert())) == (frozenset(), {}, "")
    lookout.lost(5.0)
