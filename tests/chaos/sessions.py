"""What belongs to a client or to its session: parameters, temporary tables, locks, notifications."""

from __future__ import annotations

from tests.chaos.scene import Scene
from tests.chaos.wire import (
    Reply,
    columns,
    complete,
    one_row,
    parameter_status,
    row,
)


async def settings_follow(scene: Scene) -> None:
    """The tracked parameters are this client's own on whichever server; some steps change one."""
    own = scene.session.settings
    if scene.rng.random() < 0.3:
        value = f"app {scene.rng.randrange(5)} '\"\\ of {scene.session.client}"
        changed = [parameter_status("application_name", value)] if own["application_name"] != value else []
        quoted = value.replace("'", "''")
        scene.recoverable = False
        await scene.ask_simple(f"SET application_name = '{quoted}'", complete("SET"), *changed)
        own["application_name"] = value
    token = scene.token()
    asked = ", ".join(f"current_setting('{name}') AS v" for name in own)
    await scene.ask_simple(
        f"SELECT '{token}' AS v, {asked}",
        columns(*["v"] * (1 + len(own))),
        row(token, *own.values()),
        complete("SELECT 1"),
    )


async def session_state(scene: Scene) -> None:
    """What a session keeps: its own settings, temporary tables, advisory locks and cursors."""
    token = scene.token()
    lock = scene.session.client * 1_000_000 + scene.step
    scene.recoverable = False
    await scene.ask_simple(f"SELECT set_config('chaos.session', '{token}', false) AS t", *one_row("t", token))
    await scene.ask_simple(f"SELECT pg_try_advisory_lock({lock})::text AS t", *one_row("t", "true"))
    await scene.ask_simple(f"CREATE TEMP TABLE own AS SELECT '{token}' AS t", complete("SELECT 1"))
    await scene.nap()
    await scene.ask_simple("SELECT t || '' AS t FROM own", *one_row("t", token))
    await scene.ask_simple("SELECT current_setting('chaos.session') AS t", *one_row("t", token))
    await scene.ask_simple("DROP TABLE own", complete("DROP TABLE"))
    await scene.ask_simple(f"SELECT pg_advisory_unlock({lock})::text AS t", *one_row("t", "true"))


async def notification(scene: Scene) -> None:
    """LISTEN and NOTIFY, which reach this session and no other."""
    token, channel = scene.token(), f"ch{scene.session.client}"
    await scene.ask_simple(f"LISTEN {channel}", complete("LISTEN"))
    heard = Reply("A", lambda body: "" if token.encode() in body else f"expected {token}")
    await scene.ask_simple(f"NOTIFY {channel}, '{token}'", complete("NOTIFY"), heard)
    await scene.ask_simple(f"UNLISTEN {channel}", complete("UNLISTEN"))


def nothing_left_behind() -> tuple[str, tuple[Reply, ...]]:
    """A query for what an earlier session on this server may have left, and its replies: nothing."""
    sql = (
        "SELECT coalesce(current_setting('chaos.session', true), '') AS a,"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())::text AS b,"
        " (SELECT count(*) FROM pg_listening_channels())::text AS c, to_regclass('pg_temp.own')::text AS d"
    )
    return sql, (columns("a", "b", "c", "d"), _null_at_end("", "0", "0"), complete("SELECT 1"))


def _null_at_end(*values: str) -> Reply:
    body = row(*values, "").body
    assert isinstance(body, bytes)
    return Reply("D", body[:-4] + b"\xff\xff\xff\xff")
