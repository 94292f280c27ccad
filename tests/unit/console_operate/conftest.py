"""A pooler that is made up, and who acts on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.fake_admin import TARGET, FakePooler
from tui.admin.connection import AdminConnection
from tui.operate.journal import Journal
from tui.operate.operator import Operator

POOLER = "pooler.example:6432"


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler()


@pytest.fixture
async def connection(pooler: FakePooler) -> AsyncIterator[AdminConnection]:
    found = await pooler.connect(TARGET)
    yield found
    await found.close()


@pytest.fixture
def operator() -> Operator:
    return Operator(POOLER, "ops", Journal())
