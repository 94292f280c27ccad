"""The pooler inside another program: on an event loop and a thread of its own."""

import asyncio
import threading
from types import TracebackType

import uvloop

from pooler.config.snapshot import ConfigErrors, load, unsupported
from pooler.pool.registry import Shutdown
from pooler.service.log import Log
from pooler.service.pooler import Pooler
from pooler.service.sockets import open_listeners


class PoolerThread:
    """Runs a pooler for as long as the `with` block lasts.

    Entering returns when it listens; `port` is its TCP port then. Raises what keeps it from starting
    (ConfigErrors, ListenError).
    """

    def __init__(self, config_path: str, quiet: bool = True) -> None:
        self._config_path = config_path
        self._quiet = quiet
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pooler: Pooler | None = None
        self._thread = threading.Thread(target=self._run, name="pooler", daemon=True)
        self.port = 0

    def __enter__(self) -> "PoolerThread":
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        loop, pooler = self._loop, self._pooler
        if loop is not None and pooler is not None and self._thread.is_alive():
            loop.call_soon_threadsafe(pooler.shutdown, Shutdown.IMMEDIATE)
        self._thread.join()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        snapshot = load(self._config_path)
        errors = unsupported(snapshot)
        if errors:
            raise ConfigErrors(errors)
        log = Log(quiet=self._quiet)
        log.configure(snapshot.settings, self._quiet)
        self._loop = asyncio.get_running_loop()
        pooler = self._pooler = Pooler(self._config_path, snapshot, log, self._loop, self._quiet)
        await pooler.start(open_listeners(snapshot.settings, log))
        self.port = pooler.port
        self._ready.set()
        await pooler.run_until_shutdown()
        pooler.close()
        log.close()
