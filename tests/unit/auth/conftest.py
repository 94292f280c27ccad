"""Fixtures of the login tests."""

import hashlib

import pytest

from tests.unit.auth.peers import Pbkdf2Counter


@pytest.fixture
def pbkdf2(monkeypatch: pytest.MonkeyPatch) -> Pbkdf2Counter:
    """Counts the runs of PBKDF2, which are all that an attacker could time."""
    counter = Pbkdf2Counter(hashlib.pbkdf2_hmac)
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", counter)
    return counter
