"""What makes the interpreter fit for a screen on which 40,000 rows come and go each second."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 50)


def spare_garbage_collection() -> None:
    """Rows are tuples without cycles, which Python would go through again and again: let it do so seldom.

    What has been loaded by now stays, and is not looked at any more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
