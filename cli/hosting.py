"""`pooldeck console --serve`: the pooler in the console's own process, on a thread of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from pooler.pool.maintenance import PERIOD
from pooler.pool.registry import Shutdown
from pooler.service import process
from pooler.service.embed import PoolerThread
from pooler.service.pooler import Pooler
from pooler.service.signals import signal_actions
from pooler.service.start import START_ERRORS
from tui.admin.ini_target import OWNER
from tui.admin.target import Target, parse_target

_WORTH_SAYING: Final = frozenset({"WARNING", "ERROR", "FATAL"})

POOLER_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
"""They do in this process what they do in a pooler's. SIGHUP is a RELOAD only while the terminal is there."""


def _wait_for_others(pooler: Pooler) -> None:
    """End a shutdown that waits for clients when only consoles are left: ours would never leave before."""
    if pooler.registry.shutdown is not Shutdown.WAIT_FOR_CLIENTS:
        return
    if pooler.data_clients():
        asyncio.get_running_loop().call_later(PERIOD, _wait_for_others, pooler)
    else:
        pooler.shutdown(Shutdown.IMMEDIATE)


class HostingError(Exception):
    """The pooler did not start; the text says why, a line for each reason."""


class HostedPooler:
    """A pooler that lives as long as this process wants it to.

    Its log goes where the ini says, never to the terminal; pidfile, `user` and so on are as in `pooldeck
    serve`.
    """

    def __init__(self, config: str) -> None:
        self.config = config
        self._thread = PoolerThread(config, as_process=True)

    def start(self) -> None:
        """Return when it listens. Raises HostingError."""
        try:
            # Here too: as another user, the console could not read what it loads late.
            process.refuse_root()
            self._thread.start()
        except START_ERRORS as error:
            lines = [text for _, _, level, text in self._thread.log.recent if level in _WORTH_SAYING]
            raise HostingError("\n".join(dict.fromkeys((*lines, str(error))))) from None

    @property
    def running(self) -> bool:
        """Whether it still serves, or waits for those who are left."""
        return self._thread.running

    def stop(self, *, at_once: bool) -> None:
        """Shut down: at once, or when all clients have left. To be called from any thread; does not wait."""
        self._thread.shutdown(Shutdown.IMMEDIATE if at_once else Shutdown.WAIT_FOR_CLIENTS)
        self._thread.do(_wait_for_others)

    def wait(self) -> None:
        """Wait for the end. Raises what it died of, if that was no shutdown."""
        self._thread.join()

    def when_over(self, tell: Callable[[], None]) -> None:
        """Have `tell` called, on a thread of its own, when it has ended."""

        def watch() -> None:
            self._thread.wait()
            tell()

        threading.Thread(target=watch, name="pooler-end", daemon=True).start()

    def handle_signals(self) -> None:
        """Make the signals of this process the pooler's. For the main thread, once it is started."""
        for number in POOLER_SIGNALS:
            signal.signal(number, lambda got, frame: self.take(signal.Signals(got)))

    def take(self, number: signal.Signals) -> None:
        """Do what the signal asks a pooler for."""
        self._thread.do(lambda pooler: signal_actions(pooler)[number]())
        self._thread.do(_wait_for_others)

    def target(self, environ: Mapping[str, str] = os.environ) -> Target:
        """The admin database. Over the unix socket no password is asked for: it is our own process."""
        target = parse_target(self.config, environ)
        if target.host.startswith("/") and not environ.get("PGUSER"):
            return replace(target, user=OWNER)
        return target
