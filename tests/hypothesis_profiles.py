"""How much hypothesis looks for: the same examples on every machine, or, on demand, new and more of them."""

from __future__ import annotations

import os

from hypothesis import settings

# A build that is red today and green tomorrow on the same commit tells nobody anything; whoever looks for
# new examples says so: `make explore`.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", max_examples=5_000, deadline=None, print_blob=True)


def load() -> None:
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))
