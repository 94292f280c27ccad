"""The extended query protocol of the console, message by message."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pooler.admin.conversation import PORTALS, STATEMENTS
from pooler.admin.extended import PARAMETERS
from pooler.admin.formats import UNKNOWN, row_description
from pooler.admin.replies import ROWS_AT_ONCE
from pooler.pool.registry import Pause
from pooler.wire import messages
from pooler.wire.messages import INT4, TEXT, message, query
from tests.unit.admin.fakes import FakeConsole, FakePooler, databases
from tests.unit.admin.wire import (
    FLUSH,
    SYNC,
    bind,
    close,
    describe,
    execute,
    kinds,
    parse,
    refusals,
    run,
    said,
    status,
    talk,
)

STATE = [("key", TEXT), ("value", TEXT)]
"""SHOW STATE has three rows."""


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(p0="host=h"))


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console()


def the_error(answers: list[tuple[str, bytes]]) -> tuple[str, str]:
    (found,) = refusals(answers)
    return found


# What each message brings ----------------------------------------------------------------------------


def test_a_whole_statement(console: FakeConsole) -> None:
    sent = (
        parse("SHOW STATE"),
        describe("S"),
        bind(),
        describe("P"),
        execute(),
        close("P"),
        close("S"),
        SYNC,
    )
    assert talk(console, *sent) == [
        ("1", b""),
        ("t", b"\0\0"),
        ("T", row_description(STATE)[5:]),
        ("2", b""),
        ("T", row_description(STATE)[5:]),
        ("D", messages.data_row(("active", "yes"))[5:]),
        ("D", messages.data_row(("paused", "no"))[5:]),
        ("D", messages.data_row(("suspended", "no"))[5:]),
        ("C", b"SHOW\0"),
        ("3", b""),
        ("3", b""),
        ("Z", b"I"),
    ]


def test_answers_do_not_wait_for_sync_or_flush(console: FakeConsole) -> None:
    console.send(parse("SHOW STATE"))
    assert kinds(console) == "1"
    console.send(FLUSH)
    assert kinds(console) == ""
    console.send(SYNC)
    assert kinds(console) == "Z"


def test_a_command_without_rows_has_no_data(console: FakeConsole, pooler: FakePooler) -> None:
    answers = talk(console, parse("RELOAD"), describe("S"), bind(), describe("P"), execute(), SYNC)
    assert answers == [
        ("1", b""),
        ("t", b"\0\0"),
        ("n", b""),
        ("2", b""),
        ("n", b""),
        ("C", b"RELOAD\0"),
        ("Z", b"I"),
    ]
    assert pooler.reloads == 1


def test_a_statement_may_be_run_again_and_again(console: FakeConsole, pooler: FakePooler) -> None:
    talk(console, parse("SHOW STATE", "s"), SYNC)
    for _ in range(3):
        console.send(bind(name="s") + execute() + SYNC)
        assert kinds(console) == "2DDDCZ"
    pooler.registry.set_pause(Pause.PAUSE)
    answers = talk(console, bind(name="s"), execute(), SYNC)
    assert ("D", messages.data_row(("paused", "yes"))[5:]) in answers


def test_the_unnamed_statement_is_replaced(console: FakeConsole) -> None:
    console.send(parse("SHOW STATE") + parse("SHOW VERSION") + bind() + execute() + SYNC)
    assert kinds(console) == "112DCZ"


@pytest.mark.parametrize("text", ["", " ;; ", "-- nothing", "/* nothing */;"])
def test_an_empty_statement(text: str, console: FakeConsole) -> None:
    console.send(parse(text) + describe("S") + bind() + describe("P") + execute() + execute() + SYNC)
    assert kinds(console) == "1tn2nIIZ"


def test_show_help_is_a_notice(console: FakeConsole) -> None:
    console.send(run("SHOW HELP") + SYNC)
    assert kinds(console) == "12NCZ"


def test_syncs_alone(console: FakeConsole) -> None:
    console.send(SYNC * 1000)
    assert kinds(console) == "Z" * 1000


def test_disable_pqexec_leaves_the_extended_protocol(console: FakeConsole, pooler: FakePooler) -> None:
    pooler.context.disable_pqexec = True
    console.send(run("SHOW STATE") + SYNC)
    assert kinds(console) == "12DDDCZ"
    assert not console.client.closed


def test_a_function_call_is_an_error(console: FakeConsole) -> None:
    answers = talk(console, message(b"F", b"\0\0\0\1"), query("SHOW STATE"))
    assert the_error(answers) == ("08P01", "unsupported packet type for admin console: 70")
    assert [kind for kind, _ in answers] == list("EZTDDDCZ")


def test_a_stats_user_may_look_and_no_more(pooler: FakePooler) -> None:
    console = pooler.console(is_admin=False)
    assert [kind for kind, _ in talk(console, run("SHOW STATE"), SYNC)] == list("12DDDCZ")
    answers = talk(console, run("PAUSE p0"), SYNC)
    assert the_error(answers) == ("08P01", "admin access needed")
    assert [kind for kind, _ in answers] == list("12EZ")


# Formats ---------------------------------------------------------------------------------------------


def test_binary_rows_are_described_as_such(console: FakeConsole) -> None:
    answers = talk(console, parse("SHOW LISTS"), bind(results=[1]), describe("P"), execute(), SYNC)
    assert answers[2] == ("T", row_description([("list", TEXT), ("items", INT4)], (1, 1))[5:])
    assert answers[3] == ("D", messages.data_row((b"databases", struct.pack("!i", 2)))[5:])


def test_each_column_may_have_its_own_format(console: FakeConsole) -> None:
    answers = talk(console, parse("SHOW LISTS"), bind(results=[1, 0]), execute(), SYNC)
    assert answers[2] == ("D", messages.data_row((b"databases", b"2"))[5:])


@pytest.mark.parametrize(
    ("results", "error"),
    [
        ([0, 1, 0], ("08P01", "bind message has 3 result formats but query has 2 columns")),
        ([2], ("22023", "unsupported format code: 2")),
        ([0, -1], ("22023", "unsupported format code: -1")),
    ],
)
def test_formats_that_cannot_be(results: list[int], error: tuple[str, str], console: FakeConsole) -> None:
    assert the_error(talk(console, parse("SHOW LISTS"), bind(results=results), SYNC)) == error


def test_formats_of_no_columns_do_not_matter(console: FakeConsole) -> None:
    console.send(parse("RELOAD") + bind(results=[1, 1, 1]) + execute() + SYNC)
    assert kinds(console) == "12CZ"


# Parameters ------------------------------------------------------------------------------------------


def test_a_parameter_is_described_and_used(console: FakeConsole, pooler: FakePooler) -> None:
    answers = talk(console, parse("PAUSE $1"), describe("S"), bind([b"p0"]), execute(), SYNC)
    assert answers[1:3] == [("t", struct.pack("!HI", 1, TEXT)), ("n", b"")]
    assert answers[-2:] == [("C", b"PAUSE\0"), ("Z", b"I")]
    assert pooler.is_paused("p0")


def test_a_declared_type_is_kept(console: FakeConsole, pooler: FakePooler) -> None:
    client = pooler.client("p0", "ada")
    number = struct.pack("!i", client.id)
    answers = talk(
        console,
        parse("KILL_CLIENT $1", oids=[INT4]),
        describe("S"),
        bind([number], formats=[1]),
        execute(),
        SYNC,
    )
    assert answers[1] == ("t", struct.pack("!HI", 1, INT4))
    assert client.closed


def test_a_parameter_cannot_break_out_of_its_quotes(console: FakeConsole, pooler: FakePooler) -> None:
    name = 'p0"; SHUTDOWN; --'
    answers = talk(console, parse("PAUSE $1"), bind([name.encode()]), execute(), SYNC)
    assert the_error(answers) == ("08P01", f"no such database: {name}")
    answers = talk(console, parse("SET stats_period = $1"), bind([b"6' 1"]), execute(), SYNC)
    assert answers[-2] == ("C", b"SET stats_period=6' 1\0")
    assert pooler.settings_set == [("stats_period", "6' 1")]


def test_more_types_than_parameters_are_parameters_too(console: FakeConsole) -> None:
    answers = talk(
        console, parse("SHOW STATE", oids=[0, INT4]), describe("S"), bind([b"x", b"1"]), execute(), SYNC
    )
    assert answers[1] == ("t", struct.pack("!HII", 2, UNKNOWN, INT4))
    assert [kind for kind, _ in answers] == list("1tT2DDDCZ")


@pytest.mark.parametrize(
    ("bound", "sqlstate", "text"),
    [
        (bind(), "08P01", 'bind message supplies 0 parameters, but prepared statement "" requires 1'),
        (
            bind([b"a", b"b"]),
            "08P01",
            'bind message supplies 2 parameters, but prepared statement "" requires 1',
        ),
        (bind([b"7"], formats=[0, 0]), "08P01", "bind message has 2 parameter formats but 1 parameters"),
        (bind([b"7"], formats=[3]), "22023", "unsupported format code: 3"),
        (bind([b"x"]), "22P02", "invalid input syntax for type integer in parameter $1"),
        (bind([b"4294967296"]), "22003", "value of parameter $1 is out of range for type integer"),
        (bind([b"\xff"]), "22021", 'invalid byte sequence for encoding "UTF8" in parameter $1'),
        (bind([b"1\0"]), "22021", 'invalid byte sequence for encoding "UTF8" in parameter $1'),
        (bind([b"\0\0\0"], formats=[1]), "22P03", "incorrect binary data format in bind parameter 1"),
    ],
)
def test_parameters_that_cannot_be(bound: bytes, sqlstate: str, text: str, console: FakeConsole) -> None:
    answers = talk(console, parse("KILL_CLIENT $1", oids=[INT4]), bound, execute(), SYNC)
    assert the_error(answers) == (sqlstate, text)
    assert [kind for kind, _ in answers] == list("1EZ")


def test_null_is_no_name(console: FakeConsole) -> None:
    answers = talk(console, parse("PAUSE $1"), bind([None]), execute(), SYNC)
    assert the_error(answers) == ("22004", "null value not allowed")


def test_a_type_that_is_unknown_can_be_read_as_text_alone(console: FakeConsole, pooler: FakePooler) -> None:
    talk(console, parse("PAUSE $1", oids=[600]), bind([b"p0"]), execute(), SYNC)
    assert pooler.is_paused("p0")
    answers = talk(console, parse("RESUME $1", oids=[600]), bind([b"p0"], formats=[1]), execute(), SYNC)
    assert the_error(answers) == ("0A000", "no binary input function available for type 600")


# Row limits and portals ------------------------------------------------------------------------------


def test_a_portal_is_read_piece_by_piece(console: FakeConsole) -> None:
    console.send(
        parse("SHOW STATE") + bind(portal="p") + execute("p", 2) + execute("p", 2) + execute("p") + SYNC
    )
    assert kinds(console) == "12DDsDCCZ"


def test_a_limit_that_is_reached_suspends_even_at_the_last_row(console: FakeConsole) -> None:
    console.send(parse("SHOW STATE") + bind() + execute("", 3) + execute("", 3) + SYNC)
    assert kinds(console) == "12DDDsCZ"


def test_rows_of_a_portal_are_of_one_moment(console: FakeConsole, pooler: FakePooler) -> None:
    talk(console, run("BEGIN"), SYNC, parse("SHOW STATE"), bind(portal="p"), execute("p", 1), SYNC)
    pooler.registry.set_pause(Pause.PAUSE)
    answers = talk(console, execute("p"), SYNC)
    assert answers[0] == ("D", messages.data_row(("paused", "no"))[5:])


def test_select_counts_its_rows(console: FakeConsole) -> None:
    answers = talk(console, parse("SELECT 1"), bind(), execute("", 1), execute("", 1), SYNC)
    assert [kind for kind, _ in answers] == list("12DsCZ")
    assert answers[-2] == ("C", b"SELECT 0\0")


def test_a_command_does_not_run_twice(console: FakeConsole, pooler: FakePooler) -> None:
    answers = talk(console, parse("RELOAD"), bind(portal="p"), execute("p"), execute("p"), SYNC)
    assert the_error(answers) == ("55000", 'portal "p" cannot be run anymore')
    assert pooler.reloads == 1


def test_portals_end_with_the_transaction(console: FakeConsole) -> None:
    begin = (parse("SHOW STATE", "s"), run("BEGIN"), bind(portal="p", name="s"), execute("p", 1), SYNC)
    assert status(talk(console, *begin)) == "T"
    assert [kind for kind, _ in talk(console, execute("p", 1), SYNC)] == list("DsZ")
    talk(console, run("COMMIT"), SYNC)
    assert the_error(talk(console, execute("p"), SYNC)) == ("34000", 'portal "p" does not exist')
    talk(console, bind(portal="p", name="s"), SYNC)
    assert the_error(talk(console, execute("p"), SYNC)) == ("34000", 'portal "p" does not exist')


def test_portals_end_with_the_transaction_before_its_sync(console: FakeConsole) -> None:
    talk(console, parse("COMMIT", "c"), parse("SHOW STATE", "s"), query("BEGIN"), bind(portal="p", name="s"))
    answers = talk(console, bind(name="c"), execute(), execute("p"), SYNC)
    assert the_error(answers) == ("34000", 'portal "p" does not exist')


def test_no_portal_survives_an_error(console: FakeConsole) -> None:
    talk(console, query("BEGIN; SAVEPOINT a"), parse("SHOW STATE"), bind(portal="p"), execute("no"), SYNC)
    talk(console, query("ROLLBACK TO a"))
    answers = talk(console, execute("p"), SYNC)
    assert the_error(answers) == ("34000", 'portal "p" does not exist')


def test_a_simple_query_ends_what_has_no_name(console: FakeConsole) -> None:
    talk(console, run("BEGIN"), SYNC, parse("SHOW STATE"), bind(), bind(portal="p"))
    talk(console, query("SHOW STATE"))
    assert the_error(talk(console, execute(), SYNC))[0] == "34000"
    talk(console, query("ROLLBACK"), query("BEGIN"))
    assert the_error(talk(console, bind(), SYNC))[0] == "26000"
    talk(console, query("ROLLBACK"))
    talk(console, parse("SHOW STATE"), bind(portal="p"), query("SHOW STATE"))
    assert the_error(talk(console, execute("p"), SYNC))[0] == "34000"


def test_many_rows_leave_others_their_turn(console: FakeConsole, pooler: FakePooler) -> None:
    for _ in range(2 * ROWS_AT_ONCE + 1):
        pooler.client("p0", "ada")
    console.send(run("SHOW CLIENTS") + SYNC + run("SHOW VERSION") + SYNC)
    assert bytes(console.transport.sent).count(b"10.1.1.1") == ROWS_AT_ONCE
    pooler.soon.pop(0)()
    assert bytes(console.transport.sent).count(b"10.1.1.1") == 2 * ROWS_AT_ONCE
    assert kinds(console) == "12" + "D" * (2 * ROWS_AT_ONCE + 2) + "CZ12DCZ"


@pytest.mark.parametrize("sent", [SYNC, query("SHOW STATE"), run("SHOW CONFIG") + SYNC])
def test_many_messages_leave_others_their_turn(sent: bytes, console: FakeConsole, pooler: FakePooler) -> None:
    console.send(sent * 1000)
    turns = 0
    while pooler.soon:
        assert len(console.transport.sent) < (turns + 1) * 90_000
        pooler.soon.pop(0)()
        turns += 1
    assert turns >= 9
    assert kinds(console).count("Z") == 1000


def test_a_client_that_does_not_read_gets_no_more(console: FakeConsole, pooler: FakePooler) -> None:
    for _ in range(ROWS_AT_ONCE):
        pooler.client("p0", "ada")
    console.transport.unsent = 2 * 1024 * 1024
    console.send(run("SHOW CLIENTS") + SYNC)
    pooler.run()
    assert kinds(console) == "1"
    console.transport.unsent = 0
    pooler.registry.check_waits()
    assert kinds(console) == "2" + "D" * (ROWS_AT_ONCE + 1) + "CZ"


# Waiting ---------------------------------------------------------------------------------------------


def test_a_command_that_waits_holds_what_is_pipelined_behind_it(
    console: FakeConsole, pooler: FakePooler
) -> None:
    server = pooler.busy_server("p0", "ada")
    console.send(run("PAUSE p0") + SYNC + run("SHOW VERSION") + SYNC)
    assert kinds(console) == "12"
    server.link = None
    server.disconnect("done")
    pooler.registry.check_waits()
    assert kinds(console) == "CZ12DCZ"


def test_a_cancelled_command_fails_up_to_its_sync(console: FakeConsole, pooler: FakePooler) -> None:
    pooler.busy_server("p0", "ada")
    console.send(run("PAUSE p0") + run("SHOW VERSION") + SYNC)
    said(console)
    console.session.cancelled()
    answers = said(console)
    assert the_error(answers) == ("57014", "canceling statement due to user request")
    assert [kind for kind, _ in answers] == list("EZ")


def test_a_client_may_close_its_own_connection(console: FakeConsole) -> None:
    console.send(run(f"KILL_CLIENT {int(console.client.id)}") + SYNC + run("SHOW STATE") + SYNC)
    assert console.client.closed
    assert "Z" not in kinds(console)


# Errors ----------------------------------------------------------------------------------------------


def test_after_an_error_all_is_skipped_up_to_sync(console: FakeConsole, pooler: FakePooler) -> None:
    skipped = (run("RELOAD"), query("RELOAD"), message(b"F", b"x"), b"P\0\0\0\4", FLUSH, close("S", "s"))
    answers = talk(console, parse("SHOW STATE", "s"), execute("no"), *skipped, SYNC)
    assert [kind for kind, _ in answers] == list("1EZ")
    assert pooler.reloads == 0
    assert [kind for kind, _ in talk(console, bind(name="s"), execute(), SYNC)] == list("2DDDCZ")


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (parse("NONSENSE"), ("08P01", "invalid command 'NONSENSE', use SHOW HELP;")),
        (
            parse("SHOW STATE; SHOW STATE"),
            ("08P01", "invalid command 'SHOW STATE; SHOW STATE', use SHOW HELP;"),
        ),
        (parse("SELECT 1; SELECT 1"), ("42601", "cannot insert multiple commands into a prepared statement")),
        (parse("SHOW $1"), ("08P01", "invalid command 'SHOW $1', use SHOW HELP;")),
        (bind(), ("26000", "unnamed prepared statement does not exist")),
        (bind(name="no"), ("26000", 'prepared statement "no" does not exist')),
        (describe("S", "no"), ("26000", 'prepared statement "no" does not exist')),
        (describe("P"), ("34000", 'portal "" does not exist')),
        (execute("no"), ("34000", 'portal "no" does not exist')),
        (parse("SHOW STATE", "s") * 2, ("42P05", 'prepared statement "s" already exists')),
        (parse("SHOW STATE") + bind(portal="p") * 2, ("42P03", 'portal "p" already exists')),
        (describe("X"), ("08P01", "invalid DESCRIBE message subtype 88")),
        (close("\0"), ("08P01", "invalid CLOSE message subtype 0")),
        (message(b"P", b"abc"), ("08P01", "unterminated string")),
        (message(b"P", b"\0\0"), ("08P01", "insufficient data left in message")),
        (message(b"P", b"\0\0\0\1\0\0\0"), ("08P01", "insufficient data left in message")),
        (message(b"P", b"\0\0\0\0more"), ("08P01", "invalid message format")),
        (message(b"B", b"\0\0\0\0\xff\xff"), ("08P01", "insufficient data left in message")),
        (message(b"B", b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"), ("08P01", "insufficient data left in message")),
        (message(b"B", b"\0\0\0\0\0\1\x7f\xff\xff\xff\0\0"), ("08P01", "insufficient data left in message")),
        (message(b"E", b"\0\0"), ("08P01", "insufficient data left in message")),
        (message(b"D"), ("08P01", "insufficient data left in message")),
    ],
)
def test_mistakes(sent: bytes, error: tuple[str, str], console: FakeConsole, pooler: FakePooler) -> None:
    answers = talk(console, sent, run("RELOAD"), SYNC)
    assert the_error(answers) == error
    assert status(answers) == "I"
    assert pooler.reloads == 0
    assert [kind for kind, _ in talk(console, run("SHOW STATE"), SYNC)] == list("12DDDCZ")


def test_closing_what_is_not_there_is_no_mistake(console: FakeConsole) -> None:
    console.send(close("S", "no") + close("P", "no") + SYNC)
    assert kinds(console) == "33Z"


def test_a_parse_that_fails_takes_the_unnamed_statement_along(console: FakeConsole) -> None:
    talk(console, parse("SHOW STATE"), SYNC, parse("NONSENSE"), SYNC)
    assert the_error(talk(console, bind(), SYNC))[0] == "26000"


# Limits ----------------------------------------------------------------------------------------------


def test_so_many_statements_and_no_more(console: FakeConsole) -> None:
    console.send(b"".join(parse("SHOW STATE", f"s{number}") for number in range(STATEMENTS)))
    assert kinds(console) == "1" * STATEMENTS
    assert the_error(talk(console, parse("SHOW STATE", "more"), SYNC)) == (
        "54000",
        "too many prepared statements",
    )
    console.send(close("S", "s0") + parse("SHOW STATE", "more") + SYNC)
    assert kinds(console) == "31Z"


def test_so_many_portals_and_no_more(console: FakeConsole) -> None:
    console.send(parse("SHOW STATE") + b"".join(bind(portal=f"p{number}") for number in range(PORTALS)))
    assert kinds(console) == "1" + "2" * PORTALS
    assert the_error(talk(console, bind(portal="more"), SYNC)) == ("54000", "too many portals")


def test_so_many_bytes_and_no_more(console: FakeConsole) -> None:
    long = parse("SHOW STATE" + " " * 1_000_000, "{}")
    console.send(b"".join(long.replace(b"{}", b"%02d" % number) for number in range(4)) + SYNC)
    assert kinds(console) == "1111Z"
    too_large = "prepared statements and portals are too large"
    assert the_error(talk(console, long, SYNC)) == ("54000", too_large)
    assert the_error(talk(console, parse("PAUSE $1"), bind([b"x" * 1_000_000]), SYNC)) == ("54000", too_large)


def test_so_many_parameters_and_no_more(console: FakeConsole) -> None:
    answers = talk(console, parse("SHOW STATE", oids=[0] * (PARAMETERS + 1)), SYNC)
    assert the_error(answers) == ("54000", "too many parameters")


# Whatever comes --------------------------------------------------------------------------------------

CONVERSATION = b"".join(
    (
        *(parse("SHOW LISTS", "s"), describe("S", "s"), bind(name="s", results=[1, 0]), describe("P"), FLUSH),
        *(execute("", 3), execute("", 300), close("P"), close("S", "s"), SYNC),
        *(run("BEGIN"), run("NONSENSE"), run("SHOW STATE"), SYNC, query("ROLLBACK"), query("SHOW STATE")),
        *(parse("PAUSE $1"), bind([b"p0"]), execute(), SYNC, run("RESUME p0"), message(b"F"), run(""), SYNC),
    )
)


def answer_to(*chunks: bytes) -> bytes:
    console = FakePooler(databases(p0="host=h")).console()
    for chunk in chunks:
        console.send(chunk)
        console.pooler.run()
    return bytes(console.transport.sent)


def test_a_conversation_cut_anywhere_gets_the_same_answer() -> None:
    whole = answer_to(CONVERSATION)
    answered = bytes(kind for kind, _ in messages.split(bytearray(whole), 1 << 20))
    assert (
        answered.decode()
        == "1tT2T" + "D" * 3 + "s" + "D" * 11 + "C33Z" + "12CEZ" + "CZ" + "TDDDCZ" + "12CZ12C" + "EZ" + "12IZ"
    )
    for cut in range(1, len(CONVERSATION)):
        assert answer_to(CONVERSATION[:cut], CONVERSATION[cut:]) == whole, cut
    assert answer_to(*(CONVERSATION[at : at + 1] for at in range(len(CONVERSATION)))) == whole


def _mostly_right() -> st.SearchStrategy[bytes]:
    names = st.sampled_from(["", "s", "p", "\xff"])
    texts = st.sampled_from(
        ["SHOW LISTS", "SHOW STATS", "BEGIN", "COMMIT", "PAUSE $1", "PAUSE", "RESUME", "DISCARD ALL"]
    )
    codes = st.lists(st.integers(-1, 2), max_size=3)
    oids = st.lists(st.sampled_from([0, 16, 17, 20, 21, 23, 25, 600, 701, 1184, 1700]), max_size=2)
    values = st.lists(st.none() | st.binary(max_size=12), max_size=2)
    return st.one_of(
        st.builds(parse, texts | st.binary(max_size=20), names, oids),
        st.builds(
            lambda given, portal, name, formats, results: bind(
                given, portal=portal, name=name, formats=formats, results=results
            ),
            *(values, names, names, codes, codes),
        ),
        st.builds(describe, st.sampled_from("SPX"), names),
        st.builds(execute, names, st.integers(-1, 3)),
        st.builds(close, st.sampled_from("SPX"), names),
        st.builds(
            message, st.sampled_from([b"P", b"B", b"D", b"E", b"C", b"F", b"Q", b"H"]), st.binary(max_size=30)
        ),
        st.sampled_from([SYNC, FLUSH, query("SHOW STATE"), query("ROLLBACK"), message(b"d", b"x")]),
        st.binary(max_size=8),
    )


@settings(max_examples=400)
@given(st.lists(_mostly_right(), max_size=12))
def test_whatever_comes_is_answered(sent: list[bytes]) -> None:
    pooler = FakePooler(databases(p0="host=h"))
    console = pooler.console()
    for chunk in sent:
        if not console.client.closed:
            console.send(chunk)
            pooler.run()
    assert set(kinds(console)) <= set("123CDEINTZnst")
    assert console.client.closed == console.transport.closed
    assert (pooler.registry.client_count == 0) == console.client.closed
