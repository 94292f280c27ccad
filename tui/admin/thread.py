"""The thread on which all admin connections live."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

Result = TypeVar("Result")

_STOP_SECONDS = 3.0


class AdminThread:
    """An event loop apart from the one of the screen: taking 40,000 rows apart holds up no key.

    Between `start` and `stop`, `run` may be awaited on any loop.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="admin", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Await `work()` over there. Who cancels this cancels that; what it raises is raised here."""

        async def there() -> Result:
            return await work()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._loop))

    async def stop(self) -> None:
        """End what still runs there, and the thread, within seconds: what does not end is left behind."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self.run(self._cancel_all)
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, _STOP_SECONDS)

    async def _cancel_all(self) -> None:
        tasks: list[asyncio.Task[Any]] = [
            task for task in asyncio.all_tasks() if task is not asyncio.current_task()
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
