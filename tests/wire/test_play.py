"""Plays against servers that misbehave: what is not as the script says is found, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.bouncer import USER
from tests.support.fakeserver import (
    READY,
    READY_IN_TRANSACTION,
    Behaviour,
    FakeConnection,
    FakeServer,
    data_row,
    text_result,
)
from tests.support.postgres import TemporaryPostgres
from tests.wire.parser import load
from tests.wire.play import Play, Record
from tests.wire.script import PGBOUNCER, POOLDECK, POSTGRESQL, Scenario
from tests.wire.targets import Target, Targets
from tests.wire.verdict import complaints

SECONDS = 0.5
QUESTION = 'alice asks "SELECT \'mine\'" gets "mine"'
WRONG_ROW = {"SELECT 'mine'": text_result("yours") + READY}

Player = Callable[..., Record]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake
        assert fake.errors == []


@pytest.fixture
def play(server: FakeServer, tmp_path: Path) -> Player:
    """Plays the steps of a scenario against the fake server, whose first connections do what is given."""

    def play_steps(
        *steps: str, behaviours: list[Behaviour] | None = None, seconds: float = SECONDS
    ) -> Record:
        server.script(*(behaviours or []))
        (scenario,) = scenarios(tmp_path, *steps)
        return Play(scenario, Target(POOLDECK, "127.0.0.1", server.port, "fake"), 0, seconds).run()

    return play_steps


def scenarios(tmp_path: Path, *lines: str) -> list[Scenario]:
    path = tmp_path / "x_example.script"
    path.write_text("\n".join(["scenario: example", *lines]))
    return load(path)


def answering(answers: dict[str, bytes]) -> Behaviour:
    """Answers these queries in its own way."""

    def behaviour(connection: FakeConnection) -> None:
        connection.login()
        connection.serve(answers)

    return behaviour


# What is found ----------------------------------------------------------------------------------------------


def test_conversation_as_it_should_be(play: Player) -> None:
    record = play(QUESTION, 'bob runs "BEGIN" T', 'bob runs "COMMIT" I')
    assert record.fault == ""
    assert record.said[2] == [
        'RowDescription "text" [25/0]',
        'DataRow "mine"',
        'CommandComplete "SELECT 1"',
        'ReadyForQuery "I"',
    ]


def test_row_of_somebody_else(play: Player) -> None:
    record = play(QUESTION, behaviours=[answering(WRONG_ROW)])
    assert record.fault == 'line 2: alice got DataRow "yours", not DataRow "mine"'


def test_answer_that_does_not_come(play: Player) -> None:
    record = play(QUESTION, behaviours=[answering({"SELECT 'mine'": text_result("mine")})])
    assert record.fault == "line 2: alice waits for ReadyForQuery I: nothing within 0.5 s"


def test_answer_too_many_is_found_at_the_end(play: Player) -> None:
    answer = text_result("mine") + READY
    record = play(QUESTION, behaviours=[answering({"SELECT 'mine'": answer + READY})])
    assert record.fault == 'at the end: alice got ReadyForQuery "I", not RowDescription'


def test_wrong_status_is_found(play: Player) -> None:
    answer = text_result("mine") + READY_IN_TRANSACTION
    record = play(QUESTION, behaviours=[answering({"SELECT 'mine'": answer})])
    assert record.fault == 'line 2: alice got ReadyForQuery "T", not ReadyForQuery I'


def test_client_must_not_end_in_a_transaction(play: Player) -> None:
    assert (
        play('alice runs "BEGIN" T').fault == 'at the end: alice got ReadyForQuery "T", not ReadyForQuery I'
    )


def test_newcomer_is_served_too(play: Player) -> None:
    def refusing(connection: FakeConnection) -> None:
        connection.read_startup()

    record = play(QUESTION, behaviours=[answering({}), refusing])
    assert record.fault == "at the end: newcomer is not let in: end"


def test_connection_that_ends(play: Player) -> None:
    def leaving(connection: FakeConnection) -> None:
        connection.login()
        connection.read_message()

    record = play(QUESTION, behaviours=[leaving])
    assert record.fault == "line 2: alice got end, not RowDescription"


def test_connection_that_ends_in_the_middle_of_a_message(play: Player) -> None:
    def leaving(connection: FakeConnection) -> None:
        connection.login()
        connection.read_message()
        connection.send(data_row("mine")[:7])

    assert play('alice> Query "x"', "alice< cut-short", behaviours=[leaving]).fault == ""
    assert "got cut-short" in play('alice> Query "x"', "alice< end", behaviours=[leaving]).fault


def test_row_that_should_not_be_there(play: Player) -> None:
    answers = {"none": READY, "some": data_row("1") + data_row("2") + READY}
    steps = ['alice> Query "none" ; Query "some"', "alice< DataRow... ; ReadyForQuery I"]
    assert play(*steps, "alice< DataRow... ; ReadyForQuery I", behaviours=[answering(answers)]).fault == ""
    assert "got DataRow" in play(*steps, "alice< ReadyForQuery I", behaviours=[answering(answers)]).fault


# What is sent -----------------------------------------------------------------------------------------------


def test_message_is_cut_and_goes_on(play: Player) -> None:
    parts: list[bytes] = []

    def reading(connection: FakeConnection) -> None:
        connection.login()
        # Q, a length of 8 and "one"; then three of the ten bytes of the next.
        parts.append(connection.read_bytes(9 + 3))
        connection.send(READY)
        parts.append(connection.read_bytes(7))
        connection.send(READY)
        connection.serve()

    record = play(
        'alice> Query "one" ; Query "four" ; cut at 3',
        "alice< ReadyForQuery I",
        "alice> rest",
        "alice< ReadyForQuery I",
        behaviours=[reading],
    )
    assert record.fault == ""
    assert parts == [b"Q\0\0\0\x08one\0Q\0\0", b"\0\x09four\0"]


@pytest.mark.parametrize("cut", ["0", "10", "-10", "11"])
def test_message_can_only_be_cut_inside(play: Player, cut: str) -> None:
    assert "cannot be cut" in play(f'alice> Query "four" ; cut at {cut}').fault


def test_name_stands_for_the_value_that_came(play: Player) -> None:
    ask = "alice asks \"SELECT '17'\" gets $pid"
    again = 'alice asks "SELECT \'$pid\'" gets "17"'
    assert play(ask, again).fault == ""
    other = "alice asks \"SELECT '18'\" gets $pid"
    assert play(ask, other).fault == 'line 3: alice got DataRow "18", not DataRow $pid'


def test_much_is_sent_while_nothing_is_read(play: Player) -> None:
    """More than the connection holds in both directions together."""

    def reading_late(connection: FakeConnection) -> None:
        connection.login()
        for _ in range(20):
            _, body = connection.read_message()
            connection.send(data_row(body.rstrip(b"\0").decode()))
        connection.send(READY)
        connection.serve()

    steps = ['alice> 20 times: Query "x"*1000000', 'alice< 20 times: DataRow "x"*1000000']
    assert play(*steps, "alice< ReadyForQuery I", behaviours=[reading_late], seconds=30.0).fault == ""


def test_client_that_has_left_says_nothing(play: Player) -> None:
    assert play("alice connects", "alice closes", "alice> Sync").fault == "line 4: alice has left"


# A real pool ------------------------------------------------------------------------------------------------


def test_pool_has_to_be_at_rest(postgres: TemporaryPostgres, tmp_path: Path) -> None:
    """A client beside the script keeps a server: as if the pooler had forgotten it."""
    (scenario,) = scenarios(tmp_path, "default_pool_size = 2", QUESTION)
    targets = Targets(postgres, [scenario])
    try:
        target = targets.get(POOLDECK, scenario)
        assert target.bouncer is not None
        with target.bouncer.process.connect(target.database, user=USER) as stranger:
            stranger.execute("BEGIN")
            record = Play(scenario, target, postgres.port, SECONDS).run()
        assert record.fault.startswith("at the end: SHOW POOLS has {'cl_active': 1,")
        assert "'sv_active': 1" in record.fault
        assert Play(scenario, target, postgres.port, 10 * SECONDS).run().fault == ""
    finally:
        targets.close()


# The verdict ------------------------------------------------------------------------------------------------


def said(*texts: str, fault: str = "") -> Record:
    return Record({3: list(texts)}, fault)


VERSIONS = {POSTGRESQL: (), PGBOUNCER: (1, 18), POOLDECK: ()}


@pytest.mark.parametrize(
    ("remark", "theirs", "found"),
    [
        ("", said("a"), []),
        ("", said("b"), ["line 3: pooldeck says a, but pgbouncer says b"]),
        ("", said("a", fault="line 3: got b"), ["pgbouncer, line 3: got b"]),
        ("pgbouncer differs: why", said("b"), []),
        ("pgbouncer differs: why", said("a", fault="line 3: got b"), []),
        (
            "pgbouncer differs: why",
            said("a"),
            ["pgbouncer does not differ, although the script says: why"],
        ),
        ("pgbouncer below 1.19 differs: why", said("b"), []),
        ("pgbouncer below 1.18 differs: why", said("a"), []),
        ("pgbouncer may differ: why", said("a"), []),
        ("pgbouncer may differ: why", said("b"), []),
        ("postgresql may differ: why", said("b"), ["line 3: pooldeck says a, but pgbouncer says b"]),
    ],
)
def test_targets_are_compared(tmp_path: Path, remark: str, theirs: Record, found: list[str]) -> None:
    (scenario,) = scenarios(tmp_path, remark, "settle")
    records = {POSTGRESQL: said("a"), PGBOUNCER: theirs, POOLDECK: said("a")}
    assert complaints(scenario, records, VERSIONS) == found


def test_what_pooldeck_does_wrong_is_never_excused(tmp_path: Path) -> None:
    (scenario,) = scenarios(tmp_path, "pgbouncer may differ: why", "postgresql may differ: why", "settle")
    records = {POSTGRESQL: said("b"), PGBOUNCER: said("b"), POOLDECK: said("a", fault="line 3: got b")}
    assert complaints(scenario, records, VERSIONS) == ["pooldeck, line 3: got b"]


def test_lines_that_one_target_has_not_been_to_are_not_compared(tmp_path: Path) -> None:
    (scenario,) = scenarios(tmp_path, "settle")
    records = {POSTGRESQL: Record({2: ["x"], 3: ["a"]}), POOLDECK: Record({3: ["a"], 4: ["y"]})}
    assert complaints(scenario, records, VERSIONS) == []
