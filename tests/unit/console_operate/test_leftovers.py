"""What somebody has left paused or disabled, and what is known about it; who may act at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.fake_admin import TARGET, FakePooler, database, pairs, table
from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.table import Table
from tui.operate.availability import Rights, probe_rights
from tui.operate.leftovers import find_leftovers
from tui.operate.situation import age_text


def audit(*rows: tuple[int, str, str]) -> Table:
    """Rows of SHOW AUDIT: seconds ago, command, result; the newest at the end."""
    now = datetime.now(UTC)
    found = [
        {
            "time": (now - timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S UTC"),
            "user": "eve",
            "addr": "10.0.0.9:5000",
            "command": command,
            "result": result,
            "ms": 1,
        }
        for seconds, command, result in rows
    ]
    return table(*found)


def paused(pooler: FakePooler, *names: str, state: str = "active", disabled: str = "") -> None:
    pooler.tables["DATABASES"] = table(
        *(
            database(name, paused=int(name in names), disabled=int(name == disabled))
            for name in ("app", "My-DB", "pgbouncer")
        )
    )
    states = ("active", "paused", "suspended")
    pooler.tables["STATE"] = pairs(
        ("key", "value"), {name: "yes" if name == state else "no" for name in states}
    )


async def found(pooler: FakePooler) -> list[str]:
    return [str(leftover) for leftover in await find_leftovers(await pooler.connect(TARGET))]


async def test_nothing_is_left(connection: AdminConnection) -> None:
    assert await find_leftovers(connection) == ()


async def test_since_when_and_by_whom(pooler: FakePooler) -> None:
    paused(pooler, "app", "My-DB", disabled="app")
    pooler.tables["AUDIT"] = audit(
        (99999, "PAUSE app", "ok"),
        (14 * 60 + 5, 'PAUSE "My-DB" TIMEOUT 30', "waiting"),
        (300, "pause app", "ok"),
        (200, "PAUSE app", "already suspended/paused"),
        (100, "RELOAD", "ok"),
        (50, "SET x = 'it is'", "ok"),
        (41, "DISABLE app", "ok"),
    )
    assert await found(pooler) == [
        "database app is paused, 5 min ago by eve from 10.0.0.9:5000",
        "database My-DB is paused, 14 min ago by eve from 10.0.0.9:5000, and is not complete yet",
        "database app is disabled, 41 s ago by eve from 10.0.0.9:5000",
    ]


async def test_kill_of_everything_pauses_each(pooler: FakePooler) -> None:
    paused(pooler, "app")
    pooler.tables["AUDIT"] = audit((90, "KILL", "ok"))
    assert await found(pooler) == ["database app is paused, 90 s ago by eve from 10.0.0.9:5000"]


async def test_the_whole_pooler_comes_first(pooler: FakePooler) -> None:
    paused(pooler, "app", state="suspended")
    first, second = await find_leftovers(await pooler.connect(TARGET))
    assert str(first) == "the whole pooler is suspended, since when is not known"
    assert (first.action.verb, second.action.verb) == ("RESUME", "RESUME")
    assert str(second) == "database app is paused, since when is not known"


async def test_a_pooler_without_state_is_asked_by_a_pause_that_cannot_be(pooler: FakePooler) -> None:
    del pooler.tables["STATE"]
    pooler.refuse("PAUSE pgbouncer", AdminError("cannot pause admin db: pgbouncer"))
    assert await found(pooler) == []
    pooler.refuse("PAUSE pgbouncer", AdminError("already suspended/paused"))
    assert await found(pooler) == ["the whole pooler is paused, since when is not known"]


async def test_an_audit_that_is_refused(pooler: FakePooler) -> None:
    paused(pooler, "app")
    pooler.tables["AUDIT"] = Table(("time",), [])
    pooler.refuse("SHOW AUDIT", AdminError("admin access needed"))
    assert await found(pooler) == ["database app is paused, since when is not known"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119.9, "119 s"), (120, "2 min"), (7200, "2 h 0 min"), (200_000, "2 d 7 h"), (-5, "0 s")],
)
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


@pytest.mark.parametrize(
    ("lists", "expected"),
    [(("ops, x", ""), Rights.ADMIN), (("root", "a,ops"), Rights.STATS), (("ops", "ops"), Rights.ADMIN)],
)
async def test_rights_by_the_lists_of_a_stock_pooler(
    pooler: FakePooler, connection: AdminConnection, lists: tuple[str, str], expected: Rights
) -> None:
    pooler.tables["CONFIG"] = pairs(("key", "value"), {"admin_users": lists[0], "stats_users": lists[1]})
    assert await probe_rights(connection) is expected
    assert pooler.commands == []


async def test_rights_of_who_is_in_no_list(pooler: FakePooler, connection: AdminConnection) -> None:
    pooler.tables["CONFIG"] = pairs(("key", "value"), {"admin_users": "", "stats_users": ""})
    pooler.refuse("ENABLE", AdminError("a database is required"))
    assert await probe_rights(connection) is Rights.ADMIN
    pooler.refuse("ENABLE", AdminError("admin access needed"))
    assert await probe_rights(connection) is Rights.STATS
    pooler.refuse("ENABLE", AdminError("gone", lost=True))
    with pytest.raises(AdminError):
        await probe_rights(connection)


async def test_rights_at_our_own_pooler(pooler: FakePooler) -> None:
    pooler.tables["LOGINS"] = Table(("failure",), [])
    connection = await pooler.connect(TARGET)
    assert await probe_rights(connection) is Rights.ADMIN
    pooler.refuse("SHOW LOGINS", AdminError("admin access needed"))
    assert await probe_rights(connection) is Rights.STATS
    assert pooler.commands == []
