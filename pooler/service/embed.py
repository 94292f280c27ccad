"""The pooler inside another program: on an event loop and a thread of its own."""

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import uvloop

from pooler.config.snapshot import Snapshot
from pooler.pool.registry import Shutdown
from pooler.service.log import Log
from pooler.service.options import Options
from pooler.service.pooler import Pooler
from pooler.service.process import Pidfile
from pooler.service.start import load_config, prepare, serve


class PoolerThread:
    """Runs a pooler for as long as the `with` block lasts, or from `start` until it is shut down.

    Starting returns when it listens; `port` is its TCP port then. Raises START_ERRORS.

    `as_process` makes it the pooler of this process, as `pooldeck serve` does: with a pidfile, the user of
    the ini, no second instance. Only signals are left alone: they are the main thread's. Nothing is written
    to standard error; `log` keeps the last lines.
    """

    def __init__(self, config_path: str, *, as_process: bool = False) -> None:
        self.log = Log(quiet=True)
        self.port = 0
        self._options = Options(config_path, quiet=True)
        self._as_process = as_process
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pooler: Pooler | None = None
        self._thread = threading.Thread(target=self._run, name="pooler", daemon=True)

    def start(self) -> None:
        """Returns when clients can connect."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    @property
    def running(self) -> bool:
        """Whether it still serves, or waits for those who are left."""
        return self._thread.is_alive()

    def do(self, work: Callable[[Pooler], object]) -> None:
        """Has `work` done on the pooler's loop, soon; nothing happens if it is over."""
        loop, pooler = self._loop, self._pooler
        if loop is None or pooler is None:
            return
        try:
            loop.call_soon_threadsafe(work, pooler)
        except RuntimeError:  # the loop is closed
            return

    def shutdown(self, mode: Shutdown) -> None:
        """As SHUTDOWN does; whoever wants to wait for the end joins."""
        self.do(lambda pooler: pooler.shutdown(mode))

    def wait(self) -> None:
        """Waits until the pooler has ended."""
        self._thread.join()

    def join(self) -> None:
        """Waits until the pooler has ended. Raises what it died of, if that was no shutdown."""
        self.wait()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(Shutdown.IMMEDIATE)
        self.wait()

    def _run(self) -> None:
        try:
            snapshot, pidfile = self._prepare()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve(self._options, snapshot, self.log, pidfile, made=self._made, up=self._up))
        except BaseException as error:
            self._failure = error
        finally:
            self.log.close()
            self._ready.set()

    def _prepare(self) -> tuple[Snapshot, Pidfile]:
        if self._as_process:
            return prepare(self._options, self.log)
        snapshot = load_config(self._options, self.log)
        self.log.configure(snapshot.settings, quiet=True)
        return snapshot, Pidfile("", self.log)

    def _made(self, pooler: Pooler) -> None:
        self._loop = asyncio.get_running_loop()
        self._pooler = pooler

    def _up(self, pooler: Pooler) -> None:
        self.port = pooler.port
        self._ready.set()
