"""Whether two runs of a suite said the same."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

# isolationtester names the sender of a notification by the process id that its connection was given at login,
# and a pooler gives clients ids of its own.
_SENDER = re.compile(r"^(\w+: NOTIFY .* from ).*", re.MULTILINE)


def differences(direct: Mapping[str, str], pooled: Mapping[str, str]) -> dict[str, str]:
    """Output by test in, unified diff by test out; a test without output differs from one with any."""
    return {
        test: diff
        for test in sorted(direct.keys() | pooled.keys())
        if (diff := _diff(test, direct.get(test), pooled.get(test)))
    }


def _diff(test: str, direct: str | None, pooled: str | None) -> str:
    if direct is None or pooled is None:
        return f"{test}: there is no output {'directly' if direct is None else 'through the pooler'}\n"
    before, after = (_SENDER.sub(r"\1somebody", text).splitlines(True) for text in (direct, pooled))
    return "".join(difflib.unified_diff(before, after, f"{test}, directly", f"{test}, through the pooler"))
