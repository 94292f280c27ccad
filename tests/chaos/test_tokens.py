"""The token test in short; `make chaos` runs it for as long as one likes, with crashes as well."""

from __future__ import annotations

import pytest

from tests.chaos.run import Options, run
from tests.support.postgres import PostgresMissing
from tests.support.require import missing

_SECONDS = 8.0
_CLIENTS = 24


@pytest.mark.timeout(120)
def test_every_client_gets_its_own_replies_whatever_happens() -> None:
    try:
        outcome = run(Options(seed=20, seconds=_SECONDS, clients=_CLIENTS))
    except PostgresMissing:
        missing("a PostgreSQL server")
    print(outcome.summary)
    assert not outcome.failures, "\n\n".join(outcome.failures)
