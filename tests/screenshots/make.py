"""Makes the pictures in screenshots/ from a run of the demo: all of them, or those that are named."""

from __future__ import annotations

import asyncio
import sys
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


async def take(console: Console, shots: list[Shot]) -> None:
    """All of them in one run, so that there is a history by the time of the last."""
    async with console.run_test(size=(120, 36), notifications=True) as pilot:
        stage = Stage(console, pilot)
        await stage.until(lambda: console.moment is not None, "the pooler answers")
        for shot in shots:
            await stage.begin(shot.size, shot.theme)
            await shot.act(stage)
            (DIRECTORY / f"{shot.name}.png").write_bytes(png_of(console.export_screenshot(title="pooldeck")))
            print(f"screenshots/{shot.name}.png")
            await stage.end()


def main(names: list[str]) -> int:
    """The exit code."""
    unknown = set(names) - {shot.name for shot in SHOTS}
    if unknown:
        print(f"no such picture: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    DIRECTORY.mkdir(exist_ok=True)
    try:
        with running_scene(CLIENTS, POOL_SIZE) as scene:
            settings = replace(scene.settings, name=NAME, interval=0.5)
            asyncio.run(take(Console(settings), [shot for shot in SHOTS if not names or shot.name in names]))
    except (PostgresMissing, NoFonts) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
