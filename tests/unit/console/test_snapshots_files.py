"""Configuration, editor and log at three sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_admin import FakePooler, small_tables
from tests.unit.console.driving import driven, press
from tests.unit.console.snapshots import SIZES, check
from tui.admin.table import Table
from tui.files.configuration import Configuration
from tui.screens.editor import EditorScreen
from tui.widgets.ini_area import IniArea

BEFORE = """\
;; The pooler of the shop.

[databases]
shop = host=10.0.0.5 password=geheim pool_size=20
reports = host=10.0.0.6 pool_mode=session

[pgbouncer]
listen_addr = *
auth_type = scram-sha-256
auth_file = /etc/pgbouncer/userlist.txt
max_client_conn = 500
"""

AFTER = BEFORE.replace("max_client_conn = 500", "max_client_conn = 800\npkt_buf = 8192").replace("=20", "=30")
WRONG = BEFORE.replace("max_client_conn", "max_client_con").replace("pool_size=20", "pool_size=many")

SETTINGS = (
    ("auth_file", "/etc/pgbouncer/userlist.txt", None, "yes"),
    ("auth_type", "scram-sha-256", "md5", "yes"),
    ("default_pool_size", "20", "20", "yes"),
    ("listen_addr", "*", "", "no"),
    ("max_client_conn", "400", "100", "yes"),
    ("pkt_buf", "4096", "4096", "no"),
)

DIFFERENCES = (
    (
        "pgbouncer",
        "auth_file",
        "/etc/pgbouncer/userlist.txt",
        "/etc/pgbouncer/userlist.txt",
        None,
        "file",
        "yes",
    ),
    ("pgbouncer", "auth_type", "scram-sha-256", "scram-sha-256", "md5", "file", "yes"),
    ("pgbouncer", "listen_addr", "*", "*", "", "file", "no"),
    ("pgbouncer", "max_client_conn", "500", "400", "100", "set", "yes"),
    ("databases", "shop.pool_size", "30", "20", None, "file", "yes"),
)

MESSAGES = (
    ("LOG", "process up: PgBouncer 1.25.2"),
    ("LOG", "C-0x17: shop/web@10.0.0.7:40017 login attempt: db=shop user=web tls=TLSv1.3 replication=no"),
    ("WARNING", "C-0x18: (nodb)/(nouser)@10.0.0.9:40018 pooler error: no such database: shpo"),
    ("ERROR", "S-0x19: shop/web@10.0.0.5:5432 login failed: FATAL: too many connections"),
    ("LOG", "C-0x17: shop/web@10.0.0.7:40017 closing because: client close request (age=12s)"),
)


def pooler() -> FakePooler:
    tables = small_tables()
    tables["CONFIG"] = Table(("key", "value", "default", "changeable"), SETTINGS)
    columns = ("section", "key", "file", "running", "default", "source", "changeable")
    tables["CONFIG_DIFF"] = Table(columns, DIFFERENCES)
    rows = [(n, f"2026-03-01 12:00:0{n}.000 UTC", *message) for n, message in enumerate(MESSAGES, start=1)]
    tables["LOG"] = Table(("line", "time", "level", "message"), rows)
    return FakePooler(tables)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("name", "key"), [("config", "8"), ("logs", "9")])
async def test_screens(name: str, key: str, size: tuple[int, int]) -> None:
    async with driven(pooler(), size=size, name="shop-1") as (console, pilot):
        await press(pilot, key)
        check(console, name)


@pytest.fixture
def ini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file whose name is the same wherever it is."""
    monkeypatch.chdir(tmp_path)
    Path("pgbouncer.ini").write_text(BEFORE)
    return "pgbouncer.ini"


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(("name", "text"), [("editor", WRONG), ("save", AFTER)])
async def test_editor(name: str, text: str, size: tuple[int, int], ini: str) -> None:
    async with driven(pooler(), size=size, name="shop-1") as (console, pilot):
        await console.push_screen(EditorScreen(Configuration(ini)))
        await press(pilot)
        area = console.screen.query_one(IniArea)
        area.replace(text, (0, 0), area.document.end)
        await press(pilot, "ctrl+s")
        check(console, name)
