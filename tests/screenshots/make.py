"""Makes screenshots/demo.svg from a run of the demo (`make screenshots`)."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console

from cli.demo.command import run_demo

PICTURE = Path(__file__).parents[2] / "screenshots" / "demo.svg"

# Wide enough for the two tables side by side.
_COLUMNS = 116
_SECONDS = 5
_CLIENTS = 50
_POOL_SIZE = 5


def main() -> int:
    """The exit code: that of the demo, since a picture of a failure is of no use."""
    # Not a terminal: the progress bar is drawn once, at its end. Without highlighted numbers a line is one
    # piece of text, which every viewer of SVG spaces well.
    console = Console(file=io.StringIO(), record=True, width=_COLUMNS, highlight=False)
    command = f"pooldeck demo --seconds {_SECONDS} --clients {_CLIENTS} --pool-size {_POOL_SIZE}"
    console.print(f"$ {command}", style="bold")
    status = run_demo(_SECONDS, _CLIENTS, _POOL_SIZE, console)
    if status != 0:
        print(console.export_text(), file=sys.stderr)
        return status
    PICTURE.parent.mkdir(exist_ok=True)
    console.save_svg(str(PICTURE), title="pooldeck demo")
    return 0


if __name__ == "__main__":
    sys.exit(main())
