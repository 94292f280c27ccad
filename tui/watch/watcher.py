"""Polls for as long as the console is open, through lost connections and restarts of the pooler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tui.admin.errors import AdminError
from tui.admin.thread import AdminThread
from tui.watch.clock import Clock
from tui.watch.feed import Feed
from tui.watch.link import Link, State, delay, is_refusal
from tui.watch.moment import Moment


class Watcher:
    """Runs on the loop of the screen, and lets the admin thread do the asking.

    The next poll comes `interval` seconds after the end of the last one, so that polls never queue; without
    an interval only `refresh` polls. `show` gets every Moment, `tell` every change of the Link.
    """

    def __init__(
        self,
        thread: AdminThread,
        feed: Feed,
        clock: Clock,
        interval: float | None,
        wanted: Callable[[], frozenset[str]],
        show: Callable[[Moment], None],
        tell: Callable[[Link], None],
    ) -> None:
        self.interval = interval
        self.link = Link(State.CONNECTING, clock.seconds())
        self._clock = clock
        self._thread = thread
        self._feed = feed
        self._wanted = wanted
        self._show = show
        self._tell = tell
        self._poked = asyncio.Event()
        self._turn = asyncio.Lock()
        self._asked_at: float | None = None

    @property
    def silence(self) -> float:
        """For how many seconds the pooler has owed an answer."""
        return 0.0 if self._asked_at is None else self._clock.seconds() - self._asked_at

    async def run(self) -> None:
        """Until cancelled."""
        while self.interval is not None:
            await self._poll(at_once=False)
            await self._pause()

    async def refresh(self) -> None:
        """Poll now, also where the login was refused; back when it has been shown."""
        await self._poll(at_once=True)
        self._poked.set()

    def look(self) -> None:
        """Other tables are wanted than before. A pooler that is away is not tried again for that."""
        if self.link.state is State.LIVE:
            self._poked.set()

    async def _pause(self) -> None:
        self._poked.clear()
        seconds: float | None = self.interval
        if self.link.state is State.REFUSED:
            seconds = None
        elif self.link.retry_at is not None:
            seconds = max(0.0, self.link.retry_at - self._clock.seconds())
        try:
            async with asyncio.timeout(seconds):
                await self._poked.wait()
        except TimeoutError:
            return

    async def _poll(self, *, at_once: bool) -> None:
        async with self._turn:
            wanted = self._wanted()
            self._asked_at = self._clock.seconds()
            try:
                moment = await self._thread.run(lambda: self._feed.poll(wanted, at_once=at_once))
            except AdminError as error:
                self._failed(error)
                return
            finally:
                self._asked_at = None
            if self.link.state is not State.LIVE:
                self._change(Link(State.LIVE, self._clock.seconds()))
            self._show(moment)

    def _failed(self, error: AdminError) -> None:
        now = self._clock.seconds()
        since = self.link.since if self.link.state in (State.LOST, State.REFUSED) else now
        attempts = self.link.attempts + 1
        if is_refusal(error):
            self._change(Link(State.REFUSED, since, error.message, None, attempts))
        else:
            self._change(Link(State.LOST, since, error.message, now + delay(attempts), attempts))

    def _change(self, link: Link) -> None:
        self.link = link
        self._tell(link)
