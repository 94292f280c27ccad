"""Answers on their way to a client."""

from collections.abc import Generator

from pooler.admin.console import Wait
from pooler.admin.delivery import Delivery
from pooler.admin.replies import Step
from tests.unit.admin.fakes import FakeConsole, FakePooler


def delivery(console: FakeConsole) -> Delivery:
    return Delivery(console.client, console.pooler.registry, lambda: None)


def test_an_answer_that_is_given_up_while_it_is_made_goes_no_further() -> None:
    console = FakePooler().console()
    found = delivery(console)

    def steps() -> Generator[Step, None, None]:
        yield b"sent"
        found.stop("given up")
        yield b"not sent"

    found.start(steps())
    assert bytes(console.transport.sent) == b"sent"
    assert not found.busy


def test_an_answer_that_is_given_up_waits_for_nothing() -> None:
    console = FakePooler().console()
    found = delivery(console)

    def steps() -> Generator[Step, None, None]:
        found.stop("given up")
        yield Wait(lambda: False)

    found.start(steps())
    assert not found.busy


def test_a_wait_is_over_when_somebody_looks() -> None:
    console = FakePooler().console()
    found = delivery(console)
    over: list[bool] = []

    def steps() -> Generator[Step, None, None]:
        yield b"before "
        yield Wait(lambda: bool(over))
        yield b"after"

    found.start(steps())
    console.pooler.run()
    assert found.busy
    assert not found.awaits_command
    over.append(True)
    console.pooler.registry.check_waits()
    assert bytes(console.transport.sent) == b"before after"
    assert not found.busy
