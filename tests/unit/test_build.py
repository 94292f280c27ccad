"""The form of the hot modules: `make compiled` must not test the interpreted source by mistake."""

import os
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec

import pytest


@pytest.mark.parametrize("module", ["pooler.wire.framing", "pooler.pool.pool", "pooler.relay.server"])
def test_hot_modules_are_in_the_form_that_was_asked_for(module: str) -> None:
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    compiled = spec.origin.endswith(tuple(EXTENSION_SUFFIXES))
    assert compiled == (os.environ.get("POOLDECK_COMPILED") == "1")
