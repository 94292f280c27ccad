"""What SHOW HELP says that there is."""

from pooler.admin.commands import COMMAND_TABLE, help_text
from pooler.admin.tables import SHOW_TABLES
from tui.admin.capabilities import Capabilities

EARLY = (
    "\n\tSHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION"
    "\n\tSHOW FDS|SOCKETS\n\tSET key = arg\n\tRELOAD\n\tPAUSE [<db>]\n\tSHUTDOWN"
)


def test_our_own_pooler_has_sql_and_all_its_tables() -> None:
    found = Capabilities.from_help(help_text())
    assert found.sql
    assert found.tables == {name.upper() for name in SHOW_TABLES}
    assert {verb.lower() for verb in found.commands} == {
        command.verb for command in COMMAND_TABLE if command.forms
    }
    assert found.commands["PAUSE"] == ("[<db>]", "[<db>] TIMEOUT <seconds>")


def test_an_early_pgbouncer_lacks_some() -> None:
    found = Capabilities.from_help(EARLY)
    assert not found.sql
    assert found.has_table("pools")
    assert not found.has_table("STATE")
    assert found.has_command("pause")
    assert not found.has_command("KILL_CLIENT")
    assert found.commands["RELOAD"] == ("",)
