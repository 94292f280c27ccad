"""The format of message scripts: what it can say, and that mistakes are found with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire.parser import ScriptError, load
from tests.wire.script import (
    EVERYWHERE,
    PGBOUNCER,
    POOLDECK,
    POOLERS,
    POSTGRESQL,
    Action,
    Cancel,
    Command,
    Configure,
    Connect,
    Expect,
    Leave,
    LetIn,
    Message,
    Open,
    PoolerEnds,
    Pools,
    Scenario,
    Send,
    Settle,
    Sql,
    Token,
)
from tests.wire.tokens import tokenize

SYNC = Message("Sync")
SELECT = Message("Query", (Token("SELECT 1", True),))


def read(tmp_path: Path, *lines: str) -> list[Scenario]:
    path = tmp_path / "x_example.script"
    path.write_text("\n".join(lines))
    return load(path)


def action(tmp_path: Path, line: str) -> Action:
    """What the only step of a scenario does."""
    (scenario,) = read(tmp_path, "scenario: one step", line)
    (step,) = scenario.steps
    return step.action


# Words and texts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ('Query "SELECT 1"', [Token("Query", False), Token("SELECT 1", True)]),
        ('"a;b" ; c', [Token("a;b", True), Token(";", False), Token("c", False)]),
        (r'"\"\\\n\t\x41\0"', [Token('"\\\n\tA\0', True)]),
        ('"x"*3 + "y"', [Token("xxxy", True)]),
        ('"" ""', [Token("", True), Token("", True)]),
        ('name="two words" other=one', [Token("name=two words", False), Token("other=one", False)]),
        ('name="x"*3', [Token("name=xxx", False)]),
        ("$pid !$pid NULL", [Token("$pid", False), Token("!$pid", False), Token("NULL", False)]),
    ],
)
def test_line_is_made_of_words_and_texts(line: str, tokens: list[Token]) -> None:
    assert tokenize(line) == tokens


@pytest.mark.parametrize("line", ['"not closed', '"a" + b', '+ "a"', '"a" +', '"a" + + "b"', r'"\q"'])
def test_line_that_cannot_be_read(line: str) -> None:
    with pytest.raises(ValueError, match=r"text|read|escape"):
        tokenize(line)


# Steps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("alice opens", Open("alice")),
        ("alice connects a=b", Connect("alice", (Token("a=b", False),))),
        ("alice> Sync", Send("alice", (SYNC,))),
        ('alice> Query "SELECT 1" ; Sync ; cut at -3', Send("alice", (SELECT, SYNC), cut=-3)),
        ("alice> rest", Send("alice", (), rest=True)),
        ("alice> rest ; Sync ; cut at 1", Send("alice", (SYNC,), rest=True, cut=1)),
        ("alice> 3 times: Sync", Send("alice", (SYNC,) * 3)),
        ("alice< ReadyForQuery", Expect("alice", (Message("ReadyForQuery"),))),
        ("alice< 2 times: NoData", Expect("alice", (Message("NoData"),) * 2)),
        ("alice< DataRow... ; end", Expect("alice", (Message("DataRow", (), True), Message("end")))),
        ("server1 welcomes", LetIn("server1")),
        ("server1< Sync", Expect("server1", (SYNC,))),
        ("server1> NoData", Send("server1", (Message("NoData"),))),
        ("alice closes", Leave("alice", "closes")),
        ("alice aborts", Leave("alice", "aborts")),
        ("alice cancels", Cancel("alice")),
        ("settle", Settle()),
        ("the pooler ends", PoolerEnds()),
        ("admin: PAUSE $db", Command("PAUSE $db")),
        ("pool until: cl_waiting = 2, sv_idle = 0", Pools({"cl_waiting": 2, "sv_idle": 0})),
        ("database: SELECT ';'", Sql("SELECT ';'")),
        ("database until: SELECT true", Sql("SELECT true", until=True)),
        ("config: query_timeout = 1", Configure("query_timeout", "1")),
    ],
)
def test_step(tmp_path: Path, line: str, expected: Action) -> None:
    assert action(tmp_path, line) == expected


def test_query_and_its_row_are_two_actions(tmp_path: Path) -> None:
    (scenario,) = read(tmp_path, "scenario: s", 'alice asks "SELECT 1" gets "1" T', 'alice runs "COMMIT" I')
    ask, answer, run, done = (step.action for step in scenario.steps)
    assert ask == Send("alice", (SELECT,))
    assert isinstance(answer, Expect)
    assert answer.messages[1] == Message("DataRow", (Token("1", True),))
    assert answer.messages[-1] == Message("ReadyForQuery", (Token("T", False),))
    assert isinstance(run, Send)
    assert isinstance(done, Expect)
    assert [message.word for message in done.messages] == ["CommandComplete", "ReadyForQuery"]


def test_query_is_looked_for_by_its_text(tmp_path: Path) -> None:
    looked_for = action(tmp_path, "query is over: it's")
    assert isinstance(looked_for, Sql)
    assert looked_for.until
    assert "NOT EXISTS" in looked_for.sql
    assert "'it''s'" in looked_for.sql


def test_steps_for_some_targets(tmp_path: Path) -> None:
    lines = ["settle", "[poolers] settle", "[postgresql] settle", "admin: RELOAD", "[pooldeck] admin: RELOAD"]
    (scenario,) = read(tmp_path, "scenario: s", *lines, "admin> Sync")
    assert [step.targets for step in scenario.steps] == [
        EVERYWHERE,
        POOLERS,
        {POSTGRESQL},
        POOLERS,
        {POOLDECK},
        POOLERS,
    ]


def test_indented_line_goes_on_with_the_one_before(tmp_path: Path) -> None:
    lines = ["scenario: s", "# comment", 'alice> Query "SELECT 1" ;', "  Sync", "", "settle"]
    (scenario,) = read(tmp_path, *lines)
    assert [(step.line, step.action) for step in scenario.steps] == [
        (3, Send("alice", (SELECT, SYNC))),
        (6, Settle()),
    ]


# Scenarios --------------------------------------------------------------------------------------------------


def test_settings_of_the_file_and_of_a_scenario(tmp_path: Path) -> None:
    lines = ["a = 1", "b = 1 2", "scenario: one", "b = 3", "settle", "scenario: two", "settle"]
    one, two = read(tmp_path, *lines)
    assert one.settings == {"a": "1", "b": "3", "pool_mode": "transaction"}
    assert two.settings == {"a": "1", "b": "1 2", "pool_mode": "transaction"}
    assert (two.id, two.line) == ("x_example: two", 6)


def test_scenario_for_each_pool_mode(tmp_path: Path) -> None:
    one, two = read(tmp_path, "scenario: s", "pool_mode = transaction session", "settle")
    assert [one.name, two.name] == ["s (transaction)", "s (session)"]
    assert [one.settings["pool_mode"], two.settings["pool_mode"]] == ["transaction", "session"]
    assert one.steps == two.steps


def test_where_a_scenario_is_played(tmp_path: Path) -> None:
    lines = ["postgresql is left out: why", "scenario: s", "needs pgbouncer 1.21: why", "settle"]
    (scenario,) = read(tmp_path, *lines)
    assert not scenario.is_played_on(POSTGRESQL, ())
    assert not scenario.is_played_on(PGBOUNCER, (1, 18))
    assert scenario.is_played_on(PGBOUNCER, (1, 21))
    assert scenario.is_played_on(POOLDECK, ())


def test_scenario_with_a_fake_server_is_not_for_postgresql(tmp_path: Path) -> None:
    (scenario,) = read(tmp_path, "scenario: s", "server = fake", "settle")
    assert not scenario.is_played_on(POSTGRESQL, ())


def test_what_is_known_of_versions(tmp_path: Path) -> None:
    lines = ["pgbouncer below 1.19 differs: always", "pgbouncer from 1.20 below 1.25 may differ: maybe"]
    (scenario,) = read(tmp_path, "scenario: s", *lines, "settle")
    known = [scenario.difference(PGBOUNCER, version) for version in [(1, 18), (1, 19), (1, 24), (1, 25)]]
    assert [remark.reason if remark else "" for remark in known] == ["always", "", "maybe", ""]
    assert [remark.always for remark in known if remark] == [True, False]
    assert scenario.difference(POSTGRESQL, ()) is None


# Mistakes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("alice dances", "not a step"),
        ("alice opens a=b", "nothing may follow"),
        ("alice connects quickly", "key=value"),
        ("alice> Dance", "does not send 'Dance'"),
        ("alice> ReadyForQuery I", "does not send"),
        ("server1> Sync", "does not send"),
        ("alice< Sync", "not something to expect"),
        ("server1< ReadyForQuery", "not something to expect"),
        ("alice> Query", "does not take 0 values"),
        ('alice> Sync "x"', "does not take 1 values"),
        ("alice> Sync ;", "a message missing"),
        ("alice> cut at 3", "nothing to send"),
        ("alice> rest ; cut at 3", "nothing to send"),
        ("alice> 2 times: Sync ; cut at 1", "cannot be cut"),
        ("alice> StartupMessage postgres", "key=value"),
        ('alice< DataRow... "1"', "no values are looked at"),
        ('alice asks "SELECT 1" gets I', "a row has values"),
        ('alice runs "SELECT 1" X', "not a step"),
        ("pool until: cl_waiting", "not a number of SHOW POOLS"),
        ("config: x", "not a setting"),
        ("[postgresql] admin: RELOAD", "has no admin database"),
        ("[mysql] settle", "not a step"),
        ("pooldeck differs: why", "what the script is for"),
        ("pool_mode = transactional", "unknown pool mode"),
        ('alice> Query "SELECT 1', "cannot be read"),
    ],
)
def test_mistake_in_a_scenario(tmp_path: Path, line: str, why: str) -> None:
    with pytest.raises(ScriptError, match=rf"^x_example.script:\d+: .*{why}"):
        read(tmp_path, "scenario: s", line, "settle")


@pytest.mark.parametrize(
    ("lines", "place", "why"),
    [
        ([], 0, "there is no scenario"),
        (["settle"], 1, "not in front of the first scenario"),
        (["pgbouncer differs: why"], 1, "belongs to a scenario"),
        (["scenario: s"], 1, "has no steps"),
        (["scenario: s", "settle", "a = b"], 3, "a setting has to stand in front"),
        (["scenario: s", "settle", "pgbouncer differs: why"], 3, "a remark has to stand in front"),
        (["scenario: s", "settle", "scenario: s", "settle"], 3, "is a scenario 's' already"),
    ],
)
def test_mistake_in_a_file(tmp_path: Path, lines: list[str], place: int, why: str) -> None:
    with pytest.raises(ScriptError, match=rf"^x_example.script:{place}: .*{why}"):
        read(tmp_path, *lines)
