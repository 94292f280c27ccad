"""What PgBouncer's signals do."""

import signal
from collections.abc import Callable, Mapping
from functools import partial

from pooler.config.snapshot import ConfigErrors
from pooler.pool.registry import Pause, Shutdown
from pooler.service import process
from pooler.service.pooler import Pooler

Act = Callable[[], str | None]
"""Does what a signal asks for; gives what went wrong."""


def signal_actions(pooler: Pooler) -> Mapping[signal.Signals, Callable[[], None]]:
    """For each signal what to do about it, on the pooler's event loop."""
    acts: dict[signal.Signals, Act] = {
        signal.SIGTERM: lambda: _stop(pooler, "SIGTERM", Shutdown.WAIT_FOR_CLIENTS, "all clients disconnect"),
        signal.SIGINT: lambda: _stop(
            pooler, "SIGINT", Shutdown.WAIT_FOR_SERVERS, "all servers connections to be released"
        ),
        signal.SIGQUIT: lambda: _quit(pooler),
        signal.SIGUSR1: lambda: _pause(pooler),
        signal.SIGUSR2: lambda: _resume(pooler),
        signal.SIGHUP: lambda: _reload(pooler),
    }
    return {number: partial(pooler.audit.signal, number.name, act) for number, act in acts.items()}


def _stop(pooler: Pooler, name: str, mode: Shutdown, text: str) -> None:
    if pooler.registry.shutdown is not Shutdown.NONE:
        pooler.log.info(f"got {name} while shutting down, fast exit")
        pooler.shutdown(Shutdown.IMMEDIATE)
        return
    pooler.log.info(f"got {name}, shutting down, waiting for {text}")
    process.notify_stopping()
    pooler.shutdown(mode)


def _quit(pooler: Pooler) -> None:
    pooler.log.info("got SIGQUIT, fast exit")
    pooler.shutdown(Shutdown.IMMEDIATE)


def _pause(pooler: Pooler) -> str | None:
    if pooler.registry.pause is Pause.NONE:
        pooler.log.info("got SIGUSR1, pausing all activity")
        pooler.registry.set_pause(Pause.PAUSE)
        return None
    pooler.log.info("got SIGUSR1, but already paused/suspended")
    return "already paused/suspended"


def _resume(pooler: Pooler) -> str | None:
    registry, log = pooler.registry, pooler.log
    if registry.shutdown is not Shutdown.NONE:
        log.info("got SIGUSR2 while shutting down, ignoring")
        return "pooler is shutting down"
    if registry.pause is Pause.SUSPEND:
        log.info("got SIGUSR2, continuing from SUSPEND")
        pooler.resume_from_suspend()
    elif registry.pause is Pause.PAUSE:
        log.info("got SIGUSR2, continuing from PAUSE")
        registry.set_pause(Pause.NONE)
    else:
        log.info("got SIGUSR2, but not paused/suspended")
        return "not paused/suspended"
    return None


def _reload(pooler: Pooler) -> str | None:
    failure = None
    pooler.log.info("got SIGHUP, re-reading config")
    process.notify_reloading()
    try:
        pooler.reload()
    except ConfigErrors as errors:
        for error in errors.errors:
            pooler.log.error(str(error))
        pooler.log.warning("config file loading failed")
        failure = "RELOAD failed, see logs for additional details"
    process.notify_ready()
    return failure
