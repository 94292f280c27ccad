"""The queue of outstanding requests: which reply ends what, and when a server owes nothing any more."""

from hypothesis import given
from hypothesis import strategies as st

from pooler.wire.framing import (
    BIND,
    CLOSE,
    COPY_DONE,
    COPY_FAIL,
    DESCRIBE,
    EXECUTE,
    FUNCTION_CALL,
    PARSE,
    QUERY,
    SYNC,
)
from pooler.wire.prepared import Change
from pooler.wire.requests import FAKE, FORWARD, SWALLOW, RequestQueue


def queue_of(*entries: int) -> RequestQueue:
    queue = RequestQueue()
    for entry in entries:
        queue.push(entry)
    return queue


def test_a_simple_query_is_owed_until_ready_for_query() -> None:
    queue = queue_of(QUERY)
    assert queue.answered(DESCRIBE) == FORWARD
    assert queue.completed() == FORWARD
    assert len(queue) == 1
    assert queue.ready() == FORWARD
    assert len(queue) == 0


def test_each_extended_request_ends_with_its_own_reply() -> None:
    queue = queue_of(PARSE, BIND, DESCRIBE, EXECUTE, SYNC)
    for kind in (PARSE, BIND, DESCRIBE):
        queue.answered(kind)
    queue.completed()
    assert queue.entries() == [SYNC]
    queue.ready()
    assert len(queue) == 0


def test_a_reply_to_something_else_pops_nothing() -> None:
    queue = queue_of(PARSE, SYNC)
    assert queue.answered(BIND) == FORWARD
    assert queue.entries() == [PARSE, SYNC]


def test_pipelined_queries_are_ended_one_by_one() -> None:
    queue = queue_of(QUERY, QUERY, FUNCTION_CALL)
    queue.ready()
    assert queue.entries() == [QUERY, FUNCTION_CALL]
    queue.ready()
    queue.ready()
    assert len(queue) == 0


def test_an_error_drops_the_pipeline_up_to_its_sync() -> None:
    queue = queue_of(PARSE, BIND, EXECUTE, SYNC, PARSE, SYNC)
    queue.answered(PARSE)
    assert queue.failed() == [BIND, EXECUTE]
    assert queue.entries() == [SYNC, PARSE, SYNC]


def test_an_error_before_the_sync_is_sent_makes_the_server_skip_until_it_comes() -> None:
    queue = queue_of(PARSE, BIND)
    queue.failed()
    assert len(queue) == 0
    assert not queue.push(EXECUTE)
    assert not queue.push(QUERY)
    assert queue.push(SYNC)
    assert queue.push(PARSE)
    assert queue.entries() == [SYNC, PARSE]


def test_an_error_in_a_simple_query_skips_nothing() -> None:
    queue = queue_of(QUERY, QUERY)
    assert queue.failed() == []
    queue.ready()
    assert queue.entries() == [QUERY]
    assert queue.push(PARSE)


def test_an_error_at_sync_keeps_the_sync_owed() -> None:
    queue = queue_of(SYNC, PARSE, SYNC)
    assert queue.failed() == []
    assert queue.entries() == [SYNC, PARSE, SYNC]


def test_a_query_behind_a_failed_pipeline_without_sync_is_thrown_away_with_it() -> None:
    queue = queue_of(BIND, EXECUTE, QUERY)
    assert queue.failed() == [BIND, EXECUTE, QUERY]
    assert queue.push(SYNC)


def test_ready_for_query_ends_skipping() -> None:
    queue = queue_of(PARSE)
    queue.failed()
    queue.ready()
    assert queue.push(QUERY)


def test_swallowed_replies_say_so() -> None:
    queue = queue_of(PARSE | SWALLOW, BIND)
    assert queue.answered(PARSE) == SWALLOW
    assert queue.answered(BIND) == FORWARD


def test_a_fake_waits_for_its_turn() -> None:
    queue = queue_of(BIND, PARSE | FAKE, CLOSE | FAKE, SYNC)
    assert queue.next_fake() == 0
    queue.answered(BIND)
    assert queue.next_fake() == PARSE
    assert queue.next_fake() == CLOSE
    assert queue.next_fake() == 0
    assert queue.entries() == [SYNC]


def test_an_error_takes_fakes_with_it() -> None:
    queue = queue_of(BIND, PARSE | FAKE, SYNC)
    queue.failed()
    assert queue.next_fake() == 0
    assert queue.entries() == [SYNC]


def test_copy_in_ignores_the_sync_that_was_sent_ahead() -> None:
    queue = queue_of(EXECUTE, SYNC)
    queue.copy_started()
    queue.push(COPY_DONE)
    queue.push(SYNC)
    queue.completed()
    assert queue.entries() == [SYNC]


def test_copy_in_of_a_simple_query_is_owed_until_ready_for_query() -> None:
    queue = queue_of(QUERY)
    queue.copy_started()
    queue.push(COPY_DONE)
    queue.completed()
    assert queue.entries() == [QUERY]
    queue.ready()
    assert len(queue) == 0


def test_a_second_query_behind_a_pipelined_copy_stays_owed() -> None:
    queue = queue_of(QUERY, COPY_DONE, QUERY)
    queue.copy_started()
    queue.completed()
    assert queue.entries() == [QUERY, QUERY]
    queue.ready()
    assert queue.entries() == [QUERY]


def test_a_copy_that_never_starts_leaves_no_trace_of_its_end() -> None:
    queue = queue_of(QUERY, COPY_FAIL, QUERY)
    queue.failed()
    queue.ready()
    assert queue.entries() == [QUERY]


def test_an_error_in_copy_before_copy_done_ignores_syncs_sent_ahead() -> None:
    queue = queue_of(EXECUTE, SYNC)
    queue.copy_started()
    queue.failed()
    assert len(queue) == 0
    assert not queue.push(COPY_DONE)
    assert queue.push(SYNC)
    assert queue.entries() == [SYNC]


def test_an_error_in_copy_after_copy_done_keeps_the_later_sync() -> None:
    queue = queue_of(EXECUTE, SYNC)
    queue.copy_started()
    queue.push(COPY_DONE)
    queue.push(SYNC)
    queue.failed()
    assert queue.entries() == [SYNC]


def test_two_copies_in_one_simple_query() -> None:
    queue = queue_of(QUERY, COPY_DONE, COPY_DONE, SYNC)
    queue.copy_started()
    queue.completed()
    queue.copy_started()
    queue.completed()
    assert queue.entries() == [QUERY, SYNC]


REQUESTS = st.sampled_from(
    [QUERY, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, SYNC, FUNCTION_CALL, COPY_DONE, COPY_FAIL]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), REQUESTS),
        st.tuples(st.just("answered"), REQUESTS),
        st.tuples(st.sampled_from(["ready", "failed", "completed", "copy_started", "next_fake"]), st.just(0)),
    )
)


@given(STEPS)
def test_a_mark_without_reply_is_never_the_oldest(steps: list[tuple[str, int]]) -> None:
    queue = RequestQueue()
    for step, kind in steps:
        if step in ("push", "answered"):
            getattr(queue, step)(kind)
        else:
            getattr(queue, step)()
        entries = queue.entries()
        assert len(entries) == len(queue)
        assert not entries or entries[0] not in (COPY_DONE, COPY_FAIL)


@given(st.lists(st.sampled_from([QUERY, SYNC, FUNCTION_CALL]), max_size=50))
def test_a_server_owes_nothing_after_as_many_ready_for_queries_as_requests(kinds: list[int]) -> None:
    queue = queue_of(*kinds)
    for _ in kinds:
        assert len(queue) > 0
        queue.ready()
    assert len(queue) == 0


@given(
    st.lists(st.sampled_from([PARSE, BIND, EXECUTE, SYNC, QUERY, COPY_DONE]), max_size=5),
    st.sampled_from(["answered", "failed", "changed", "unchanged"]),
    st.booleans(),
)
def test_the_run_that_ends_a_pipeline_is_three_requests(sent: list[int], then: str, described: bool) -> None:
    together, apart = RequestQueue(), RequestQueue()
    for queue in (together, apart):
        for entry in sent:
            queue.push(entry)
        if then == "changed":
            queue.push_change(PARSE, Change(PARSE, None, None))
        elif then == "failed":
            queue.failed()
        elif then == "answered":
            queue.answered(BIND)
    together.push_run(described)
    for entry in (DESCRIBE, EXECUTE, SYNC) if described else (EXECUTE, SYNC):
        apart.push(entry)
    assert together.entries() == apart.entries()
    assert (together.skipping, together.unsettled) == (apart.skipping, apart.unsettled)
