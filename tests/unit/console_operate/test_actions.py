"""The registry: unique keys, exact commands, and nothing that an empty name could turn into more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.admin.commands import COMMAND_TABLE
from pooler.admin.parser import parse
from tui.admin.capabilities import Capabilities
from tui.admin.sqltext import identifier, string, unquoted
from tui.operate.actions import ACTIONS, BY_VERB, Action, Risk
from tui.operate.availability import Rights, Standing, why_not
from tui.operate.subject import Kind, Subject, row_key

_CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
NAMES = st.text(_CHARACTERS, min_size=1, max_size=15)
VALUES = st.text(_CHARACTERS, max_size=60)

each_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)

OURS = Capabilities(
    frozenset(),
    {
        **dict.fromkeys([command.verb.upper() for command in COMMAND_TABLE], ("",)),
        **dict.fromkeys(("PAUSE", "RESUME", "KILL", "RECONNECT", "WAIT_CLOSE"), ("[<db>]",)),
        "SHUTDOWN": ("", "WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS", "IMMEDIATE"),
    },
)


def test_keys_and_names_are_unique_and_are_not_those_of_the_screens() -> None:
    keys = [action.key for action in ACTIONS]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[A-Z]", key) for key in keys)
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)


def test_every_verb_of_ours_that_acts_is_there() -> None:
    """But SAVE, which is for what edits settings, and KILL_CLIENTS, which KILL_CLIENT uses."""
    ours = {command.verb.upper() for command in COMMAND_TABLE if command.acts}
    assert ours - {"SHOW", "SELECT", "SAVE", "KILL_CLIENTS"} == BY_VERB.keys()


@each_action
def test_it_says_what_it_does_and_how_to_take_it_back(action: Action) -> None:
    assert action.help.endswith(".")
    assert bool(action.undo) != bool(action.no_undo)
    assert action.undo == "" or action.undo in BY_VERB


def test_risks_are_those_that_were_agreed() -> None:
    def of(verb: str, kind: Kind) -> Risk:
        return BY_VERB[verb].scopes[kind]

    for verb in ("RESUME", "ENABLE"):
        assert of(verb, Kind.DATABASE) is Risk.NONE
    for verb in ("RELOAD", "RECONNECT", "SET", "WAIT_CLOSE"):
        assert of(verb, Kind.POOLER) is Risk.CONFIRM
    for verb in ("KILL_CLIENT", "CANCEL_CLIENT"):
        assert of(verb, Kind.CLIENT) is Risk.CONFIRM
    for verb in ("PAUSE", "DISABLE", "KILL", "KILL_CLIENT"):
        assert of(verb, Kind.DATABASE) is Risk.NAME
    for verb in ("PAUSE", "KILL", "SUSPEND", "SHUTDOWN"):
        assert of(verb, Kind.POOLER) is Risk.POOLER


@each_action
@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15)
)
def test_the_pooler_reads_the_very_name(action: Action, name: str) -> None:
    if Kind.DATABASE in action.scopes:
        statement = parse(action.statement(name, {}))
        assert (statement.verb, statement.argument) == (action.verb.lower(), name)
        assert unquoted(identifier(name)) == name


@given(VALUES)
def test_the_pooler_reads_the_very_value(value: str) -> None:
    statement = parse(BY_VERB["SET"].statement(None, {"key": "server_lifetime", "value": value}))
    assert (statement.verb, statement.argument, statement.value) == ("set", "server_lifetime", value)


def test_names_are_quoted_where_they_have_to_be() -> None:
    assert identifier("App_1") == "App_1"
    assert identifier("my-db") == '"my-db"'
    assert identifier('o"clock') == '"o""clock"'
    assert identifier("a" * 63) == "a" * 63
    for too_long in ("a" * 64, "-" * 62, "é" * 31):
        with pytest.raises(ValueError, match="too long"):
            identifier(too_long)
    with pytest.raises(ValueError, match="zero"):
        identifier("a\0")
    with pytest.raises(ValueError, match="zero"):
        string("a\0")
    with pytest.raises(ValueError, match="255"):
        string("x" * 254)


@each_action
def test_an_empty_name_is_never_everything(action: Action) -> None:
    if not action.parameters:
        with pytest.raises(ValueError, match=r"needed|id"):
            action.statement("", {})
    for make in (Subject.databases, Subject.clients, Subject.servers):
        with pytest.raises(ValueError, match="named"):
            make()
        with pytest.raises(ValueError, match="named"):
            make("")
    with pytest.raises(ValueError, match="one pooler"):
        Subject(Kind.POOLER, ("app",))
    if Kind.POOLER not in action.scopes:
        with pytest.raises(ValueError, match="whole pooler"):
            action.statement(None, {})


def test_settings_are_words() -> None:
    for name in ("", "a b", "x; SHUTDOWN"):
        with pytest.raises(ValueError, match="setting"):
            BY_VERB["SET"].statement(None, {"key": name, "value": "1"})


def test_variants() -> None:
    shutdown = BY_VERB["SHUTDOWN"]
    assert shutdown.statement(None, {}) == "SHUTDOWN"
    assert shutdown.statement(None, {"variant": "WAIT_FOR_CLIENTS"}) == "SHUTDOWN WAIT_FOR_CLIENTS"
    assert [shutdown.waits(variant.word) for variant in shutdown.variants] == [True, True, False]
    assert BY_VERB["PAUSE"].variant("") is None
    with pytest.raises(ValueError, match="NEVER"):
        shutdown.variant("NEVER")


def test_rows_without_an_id_go_by_address_and_time() -> None:
    assert row_key({"id": 7, "ptr": "0x7", "connect_time": "then"}) == 7
    old = row_key({"ptr": "0x7", "connect_time": "then"})
    assert old == ("0x7", "then")
    assert str(Subject.clients(old)) == "client 0x7"
    with pytest.raises(ValueError, match="by id"):
        BY_VERB["KILL_CLIENT"].statement(old, {})


def test_subjects_in_words() -> None:
    assert str(Subject.pooler()) == "the whole pooler"
    assert str(Subject.databases("app", "app")) == "database app"
    assert str(Subject.clients(1, 2)) == "2 clients"


@pytest.mark.parametrize(
    ("verb", "subject", "reason"),
    [
        ("PAUSE", Subject.databases("app"), None),
        ("PAUSE", Subject.pooler(), None),
        ("PAUSE", None, "nothing is selected"),
        ("PAUSE", Subject.clients(1), "PAUSE is for databases and the whole pooler"),
        ("PAUSE", Subject.databases("pgbouncer"), "not for the admin database"),
        ("KILL_CLIENT", Subject.servers(1), None),
        ("RELOAD", Subject.databases("app"), "RELOAD is for the whole pooler"),
    ],
)
def test_why_something_cannot_be_done(verb: str, subject: Subject | None, reason: str | None) -> None:
    assert why_not(BY_VERB[verb], subject, Standing(OURS)) == reason


def test_what_a_pooler_lacks() -> None:
    old = Standing(Capabilities(frozenset(), {"KILL": ("<db>",), "SHUTDOWN": ("",)}))
    everything, app = Subject.pooler(), Subject.databases("app")
    assert why_not(BY_VERB["KILL_CLIENT"], Subject.clients(1), old) == "this pooler has no KILL_CLIENT"
    assert why_not(BY_VERB["KILL"], everything, old) == "KILL of this pooler needs a database"
    assert why_not(BY_VERB["KILL"], app, old) is None
    assert why_not(BY_VERB["SHUTDOWN"], everything, old) is None
    reason = "this pooler has no SHUTDOWN WAIT_FOR_CLIENTS"
    assert why_not(BY_VERB["SHUTDOWN"], everything, old, "WAIT_FOR_CLIENTS") == reason


def test_a_target_of_several_hosts_is_only_looked_at() -> None:
    standing = Standing(OURS, several_hosts=True)
    reason = "the target names several hosts: name one to act"
    assert why_not(BY_VERB["RESUME"], Subject.pooler(), standing) == reason


@each_action
def test_who_may_only_look_and_a_console_that_is_read_only(action: Action) -> None:
    for kind in action.scopes:
        subject = Subject(kind, () if kind is Kind.POOLER else ("app",))
        assert why_not(action, subject, Standing(OURS, read_only=True)) == "this console is read-only"
        stats = Standing(OURS, rights=Rights.STATS, user="watch")
        assert why_not(action, subject, stats) == "watch may look, and not act"


def test_no_terminal_is_loaded() -> None:
    code = (
        "import sys, tui.operate.jobs, tui.operate.leftovers, tui.operate.availability\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'textual', 'rich', 'typer', 'asyncpg'})"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@each_action
def test_the_manual_has_it(action: Action) -> None:
    docs = Path(__file__).parents[3] / "docs"
    (line,) = re.findall(rf"(?m)^\| `{action.key}` \| (.*)$", (docs / "console.md").read_text())
    assert line.startswith(action.title)
    assert f"`{action.name}`" in (docs / "scripts.md").read_text()
