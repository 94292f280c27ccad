"""Whether there is somebody to show a console to."""

from __future__ import annotations

import os
from collections.abc import Mapping


def on_terminal(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a terminal, or a browser in place of it."""
    return "TEXTUAL_DRIVER" in environ or all(os.isatty(descriptor) for descriptor in (0, 1, 2))
