"""Makes the pictures in screenshots/ from a run of the demo: all of them, or those that are named."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from cli.demo.live import running_scene
from cli.demo.pg_programs import PostgresMissing
from tests.screenshots.picture import NoFonts, png_of
from tests.screenshots.shots import SHOTS, Shot
from tests.screenshots.stage import Stage
from tui.app import Console

DIRECTORY: Final = Path(__file__).parents[2] / "screenshots"

CLIENTS: Final = 60
POOL_SIZE: Final = 6
NAME: Final = "demo"


async def take(console: Console, shots: list[Shot], minutes: float) -> None:
    """All of them in one run; the last when it is so old, for its graphs."""
    async with console.run_test(size=(120, 36), notifications=False) as pilot:
        stage = Stage(console, pilot)
        began = time.monotonic()
        await stage.until(lambda: console.moment is not None, "the pooler answers")
        for shot in shots:
            if shot is SHOTS[-1]:
                await stage.wait(max(0.0, began + 60 * minutes - time.monotonic()))
            await stage.begin(shot.size, shot.theme)
            await shot.act(stage)
            if not stage.svg:
                stage.shoot()
            (DIRECTORY / f"{shot.name}.png").write_bytes(png_of(stage.svg))
            print(f"screenshots/{shot.name}.png")
            await stage.end()


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [shot.name for shot in SHOTS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names)}; default: all")
    parser.add_argument("--minutes", type=float, default=5, help="how far back the overview can look")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no such picture: {', '.join(sorted(unknown))}")
    DIRECTORY.mkdir(exist_ok=True)
    try:
        with running_scene(CLIENTS, POOL_SIZE) as scene:
            settings = replace(scene.settings, name=NAME, interval=0.5)
            chosen = [shot for shot in SHOTS if not options.names or shot.name in options.names]
            asyncio.run(take(Console(settings), chosen, options.minutes))
    except (PostgresMissing, NoFonts) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
