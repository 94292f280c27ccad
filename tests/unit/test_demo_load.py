"""The demo's verdict: it has to notice every answer that is not the answer to the question."""

from collections import Counter
from itertools import count
from typing import Any

import pytest

from cli.demo.load import LoadClient, LoadReport


class FakeConnection:
    """Answers each query with what `answer` makes of its token."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def fetch(self, sql: str, token: str, *arguments: object) -> list[tuple[str | None]]:
        rows: list[tuple[str | None]] = self._answer(token)
        return rows

    def transaction(self) -> "FakeConnection":
        return self

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *error: object) -> None:
        pass


def client_of(answer: Any) -> tuple[LoadClient, LoadReport]:
    report = LoadReport(clients=1)
    return LoadClient(FakeConnection(answer), 7, report, count(1)), report


async def test_answers_with_their_own_token_match() -> None:
    client, report = client_of(lambda token: [(token,), (token,)])
    await client.read()
    await client.transaction()
    assert (report.sent, report.matched, report.mismatched) == (3, 3, 0)
    assert len(report.latencies) == 3
    assert report.clean


@pytest.mark.parametrize(
    "answer",
    [
        lambda token: [("7:0:another's",)],
        lambda token: [(token,), ("7:0:another's",)],
        lambda token: [(None,)],
        lambda token: [],
    ],
    ids=["another token", "one row of another", "null", "no rows"],
)
async def test_any_other_answer_is_a_mismatch(answer: Any) -> None:
    client, report = client_of(answer)
    await client.read()
    assert (report.sent, report.matched, report.mismatched) == (1, 0, 1)
    assert "sent 7:1:" in report.examples[0]
    assert not report.clean


async def test_every_query_has_a_token_of_its_own() -> None:
    tokens: list[str] = []

    def answer(token: str) -> list[tuple[str]]:
        tokens.append(token)
        return [(token,)]

    client, _ = client_of(answer)
    for _ in range(50):
        await client.work()
    assert len(set(tokens)) == len(tokens) >= 50
    assert [token.split(":")[:2] for token in tokens] == [["7", str(n + 1)] for n in range(len(tokens))]


@pytest.mark.parametrize(
    "report",
    [
        LoadReport(clients=1),
        LoadReport(clients=1, sent=2, matched=1),
        LoadReport(clients=1, sent=1, matched=1, errors=Counter(["refused"])),
    ],
    ids=["nothing sent", "one unanswered", "an error"],
)
def test_a_report_is_clean_only_if_everything_came_back(report: LoadReport) -> None:
    assert not report.clean


def test_percentiles_are_in_seconds_and_need_two_answers() -> None:
    report = LoadReport(clients=1, latencies=[n / 1000 for n in range(1, 101)])
    assert report.percentile(50) == pytest.approx(0.0505)
    assert report.percentile(99) == pytest.approx(0.1, rel=0.01)
    assert LoadReport(clients=1, latencies=[0.1]).percentile(50) == 0
