"""Names of prepared statements: found, replaced, shared, and taken back."""

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.wire.framing import BIND, CLOSE, DESCRIBE, EXECUTE, PARSE, SYNC, body_length
from pooler.wire.messages import message
from pooler.wire.prepared import Change, Statement, StatementCatalog, renamed_bind, statement_name
from pooler.wire.requests import ACTION, FAKE, FORWARD, REPLACE, SWALLOW, RequestQueue


def name_in(message: bytes, before: bytes = b"") -> bytes | None:
    """The name in a message that stands at the end of a chunk."""
    return statement_name(before + message, len(before), len(before + message))


NAMES = st.binary(min_size=0, max_size=70).filter(lambda name: b"\x00" not in name)


def bind(portal: bytes, name: bytes, rest: bytes = b"\x00" * 6) -> bytes:
    return message(b"B", portal, b"\x00", name, b"\x00", rest)


@given(NAMES)
def test_the_name_of_a_parse_is_found(name: bytes) -> None:
    assert name_in(message(b"P", name, b"\x00", b"select 1\x00\x00\x00"), b"before") == name


@given(NAMES, NAMES)
def test_the_name_of_a_bind_is_found_behind_the_portal(portal: bytes, name: bytes) -> None:
    assert name_in(bind(portal, name), b"before") == name


@pytest.mark.parametrize("kind", [DESCRIBE, CLOSE])
def test_portals_are_none_of_our_business(kind: int) -> None:
    assert name_in(message(bytes((kind,)), b"Pname\x00")) == b""
    assert name_in(message(bytes((kind,)), b"Sname\x00")) == b"name"


@given(st.sampled_from([PARSE, BIND, DESCRIBE, CLOSE]), st.binary(max_size=60))
def test_a_cut_name_is_never_taken_for_a_whole_one(kind: int, body: bytes) -> None:
    whole = name_in(message(bytes((kind,)), body))
    for cut in range(len(body)):
        part = name_in(message(bytes((kind,)), body)[: 5 + cut])
        assert part is None or part == whole


@given(NAMES, NAMES, NAMES, st.binary(max_size=40))
def test_a_renamed_bind_differs_in_its_name_alone(portal: bytes, old: bytes, new: bytes, rest: bytes) -> None:
    original = bind(portal, old, rest)
    renamed = renamed_bind(original, body_length(original, 0), new)
    assert renamed == bind(portal, new, rest)


def test_a_bind_that_is_cut_is_renamed_with_the_length_of_the_whole() -> None:
    original = bind(b"", b"mine", b"\x01" * 100)
    renamed = renamed_bind(original[:30], body_length(original, 0), b"PGBOUNCER_1")
    assert renamed + original[30:] == bind(b"", b"PGBOUNCER_1", b"\x01" * 100)


def test_equal_texts_are_one_statement_for_as_long_as_somebody_holds_it() -> None:
    catalog = StatementCatalog()
    first = catalog.share(b"select 1\x00\x00\x00")
    assert catalog.share(b"select 1\x00\x00\x00") is first
    assert catalog.share(b"select 2\x00\x00\x00") is not first
    del first
    gc.collect()
    assert len(catalog) == 0


STATEMENT = Statement(b"select 1\x00\x00\x00", b"PGBOUNCER_1")


def test_a_failed_parse_is_forgotten_by_client_and_server() -> None:
    client, server = {b"a": STATEMENT}, {STATEMENT: None}
    queue = RequestQueue()
    queue.push_change(PARSE, Change(PARSE, STATEMENT, b"a", True))
    queue.push(SYNC)
    queue.failed()
    for change in queue.undone:
        change.undo(client, server)
    assert client == {}
    assert server == {}


def test_a_close_that_the_server_skipped_did_not_happen() -> None:
    client: dict[bytes, Statement] = {}
    queue = RequestQueue()
    queue.push(EXECUTE)
    queue.push_change(CLOSE | FAKE, Change(CLOSE, STATEMENT, b"a"))
    queue.push(SYNC)
    queue.failed()
    for change in queue.undone:
        change.undo(client, {})
    assert client == {b"a": STATEMENT}
    assert queue.entries() == [SYNC]


def test_an_eviction_that_the_server_skipped_did_not_happen() -> None:
    server: dict[Statement, None] = {}
    queue = RequestQueue()
    queue.push(EXECUTE)
    queue.push_change(CLOSE | SWALLOW, Change(CLOSE, STATEMENT, None))
    queue.failed()
    for change in queue.undone:
        change.undo({}, server)
    assert server == {STATEMENT: None}


def test_an_answered_parse_is_not_undone_by_a_later_error() -> None:
    queue = RequestQueue()
    queue.push_change(PARSE | SWALLOW, Change(PARSE, STATEMENT, None, True))
    queue.push(BIND)
    assert queue.answered(PARSE) == SWALLOW
    queue.failed()
    assert queue.undone == []


def test_the_error_of_a_refused_parse_is_the_poolers() -> None:
    queue = RequestQueue()
    queue.push_change(PARSE | REPLACE, Change(PARSE, None, None, refusal=b"refusal"))
    queue.push(SYNC)
    assert queue.head & ACTION == REPLACE
    queue.failed()
    assert queue.undone[0].refusal == b"refusal"
    assert queue.head & ACTION == FORWARD


def test_what_comes_after_deallocate_all_holds_again() -> None:
    client: dict[bytes, Statement] = {}
    server: dict[Statement, None] = {}
    Change(PARSE, STATEMENT, b"a", True).redo(client, server)
    Change(CLOSE, STATEMENT, b"a").redo(client, server)
    assert client == {b"a": STATEMENT}
    assert server == {STATEMENT: None}


def test_changes_are_unsettled_from_their_sync_until_its_answer() -> None:
    queue = RequestQueue()
    queue.push_change(PARSE, Change(PARSE, STATEMENT, b"a", True))
    assert queue.unsettled == 0
    queue.push(SYNC)
    assert queue.unsettled == 1
    queue.push_change(PARSE, Change(PARSE, STATEMENT, b"b", True))
    queue.answered(PARSE)
    assert queue.unsettled == 0
    queue.failed()
    assert queue.undone == []


def test_changes_that_fail_are_settled_too() -> None:
    queue = RequestQueue()
    queue.push(BIND)
    queue.push_change(PARSE, Change(PARSE, STATEMENT, b"a", True))
    queue.push(SYNC)
    queue.failed()
    assert queue.unsettled == 0
    assert len(queue.undone) == 1
