"""`pooldeck-pgbouncer`: the pooler as a process, with PgBouncer's command line, boot lines, signals and exit
codes.
"""

import asyncio
import codecs
import gc
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import uvloop

from pooler.admin.sql import query
from pooler.config.snapshot import ConfigErrors, Snapshot, load, unsupported
from pooler.pool.registry import Pause, Shutdown
from pooler.service import process
from pooler.service.access import load_extras
from pooler.service.log import Log, LogError
from pooler.service.options import Options, parse_or_exit
from pooler.service.pooler import Pooler, descriptors_of
from pooler.service.sockets import Listener, ListenError, open_listeners, refuse_second_instance
from pooler.service.version import VERSION_LINE, data_path_compiled


def main(argv: Sequence[str] | None = None) -> int:
    """The executable."""
    return run(parse_or_exit(sys.argv if argv is None else argv))


def run(options: Options) -> int:
    """Runs a pooler in this process until it is shut down; returns the exit code."""
    log = Log(quiet=options.quiet)
    try:
        snapshot = _load(options, log)
        load_extras(snapshot.settings)
        _become_user(options.user or snapshot.settings.user)
        log.configure(snapshot.settings, options.quiet)
        refuse_second_instance(snapshot.settings)
        pidfile = process.Pidfile(snapshot.settings.pidfile, log)
        pidfile.check()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(options, snapshot, log, pidfile))
    except (ConfigErrors, process.ProcessError, ListenError, LogError) as error:
        log.fatal(str(error))
        return 1
    finally:
        log.close()
    return 0


def _load(options: Options, log: Log) -> Snapshot:
    """The configuration; every error in it is logged, not the first alone."""
    try:
        snapshot = load(options.config)
        errors = unsupported(snapshot)
    except ConfigErrors as found:
        errors = found.errors
    if errors:
        for error in errors:
            log.error(str(error))
        raise process.ProcessError("cannot load config file")
    if options.verbose and "verbose" not in snapshot.explicit:
        return replace(snapshot, settings=snapshot.settings.replace("verbose", str(options.verbose)))
    return snapshot


def _become_user(name: str | None) -> None:
    """Changes the user, who may not be able to read Python's library: what is loaded late is loaded now."""
    for codec in ("idna", "unicode_escape", "ascii", "latin-1", "utf-8"):
        codecs.lookup(codec)
    if name:
        query.load(partial(process.can_read, name))
        process.change_user(name)
    process.refuse_root()


async def _serve(options: Options, snapshot: Snapshot, log: Log, pidfile: process.Pidfile) -> None:
    settings = snapshot.settings
    loop = asyncio.get_running_loop()
    pooler = Pooler(options.config, snapshot, log, loop, options.quiet)
    expected = process.expected_descriptors(
        settings.max_client_conn, descriptors_of(settings, snapshot), len(pooler.registry.users)
    )
    process.log_descriptor_limit(log, settings.max_client_conn, expected)
    listeners: list[Listener] = open_listeners(settings, log)
    _handle_signals(pooler, loop)
    await pooler.start(listeners)
    pidfile.write()
    path = "compiled" if data_path_compiled() else "interpreted"
    log.info(f"process up: {VERSION_LINE}, data path: {path}")
    process.notify_ready()
    tune_garbage_collection()
    await pooler.run_until_shutdown()
    pooler.close()
    pidfile.remove()


def tune_garbage_collection() -> None:
    """Connections untie their cycles when they close, so collections find little: they may be rare, and skip
    what is there now.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


# Signals ---------------------------------------------------------------------------------------------------


def _handle_signals(pooler: Pooler, loop: asyncio.AbstractEventLoop) -> None:
    registry, log = pooler.registry, pooler.log

    def stop(name: str, mode: Shutdown, text: str) -> str | None:
        if registry.shutdown is not Shutdown.NONE:
            log.info(f"got {name} while shutting down, fast exit")
            pooler.shutdown(Shutdown.IMMEDIATE)
            return None
        log.info(f"got {name}, shutting down, waiting for {text}")
        process.notify_stopping()
        pooler.shutdown(mode)
        return None

    def quit_() -> str | None:
        log.info("got SIGQUIT, fast exit")
        pooler.shutdown(Shutdown.IMMEDIATE)
        return None

    def pause() -> str | None:
        if registry.pause is Pause.NONE:
            log.info("got SIGUSR1, pausing all activity")
            registry.set_pause(Pause.PAUSE)
            return None
        log.info("got SIGUSR1, but already paused/suspended")
        return "already paused/suspended"

    def resume() -> str | None:
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

    def on(number: signal.Signals, act: Callable[[], str | None]) -> None:
        loop.add_signal_handler(number, pooler.audit.signal, number.name, act)

    on(signal.SIGTERM, lambda: stop("SIGTERM", Shutdown.WAIT_FOR_CLIENTS, "all clients disconnect"))
    on(
        signal.SIGINT,
        lambda: stop("SIGINT", Shutdown.WAIT_FOR_SERVERS, "all servers connections to be released"),
    )
    on(signal.SIGQUIT, quit_)
    on(signal.SIGUSR1, pause)
    on(signal.SIGUSR2, resume)
    on(signal.SIGHUP, lambda: _reload(pooler))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def _reload(pooler: Pooler) -> str | None:
    """Reads the configuration again; returns what went wrong."""
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


if __name__ == "__main__":
    sys.exit(main())
