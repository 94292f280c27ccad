"""From a configuration file to a pooler that serves, and to its end, whatever thread that happens on."""

import asyncio
import codecs
import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pooler.admin.sql import query
from pooler.config.snapshot import ConfigErrors, Snapshot, load, unsupported
from pooler.service import process
from pooler.service.access import load_extras
from pooler.service.log import Log, LogError
from pooler.service.options import Options
from pooler.service.pooler import Pooler, descriptors_of
from pooler.service.sockets import ListenError, open_listeners, refuse_second_instance
from pooler.service.version import VERSION_LINE, data_path_compiled

START_ERRORS = (ConfigErrors, process.ProcessError, ListenError, LogError)
"""What keeps a pooler from starting; the text is for a FATAL log line."""


def prepare(options: Options, log: Log) -> tuple[Snapshot, process.Pidfile]:
    """What comes before the event loop: configuration, user, no second instance.

    Raises START_ERRORS.
    """
    snapshot = load_config(options, log)
    load_extras(snapshot.settings)
    _become_user(options.user or snapshot.settings.user)
    log.configure(snapshot.settings, options.quiet)
    refuse_second_instance(snapshot.settings)
    pidfile = process.Pidfile(snapshot.settings.pidfile, log)
    pidfile.check()
    return snapshot, pidfile


def load_config(options: Options, log: Log) -> Snapshot:
    """The configuration; every error in it is logged, not the first alone. Raises ProcessError."""
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


async def serve(
    options: Options,
    snapshot: Snapshot,
    log: Log,
    pidfile: process.Pidfile,
    *,
    made: Callable[[Pooler], None],
    up: Callable[[Pooler], None] = lambda pooler: None,
) -> None:
    """Serves until it is shut down. `made` gets the pooler before the first client, `up` once it listens.

    Raises START_ERRORS.
    """
    settings = snapshot.settings
    pooler = Pooler(options.config, snapshot, log, asyncio.get_running_loop(), options.quiet)
    expected = process.expected_descriptors(
        settings.max_client_conn, descriptors_of(settings, snapshot), len(pooler.registry.users)
    )
    process.log_descriptor_limit(log, settings.max_client_conn, expected)
    listeners = open_listeners(settings, log)
    made(pooler)
    await pooler.start(listeners)
    pidfile.write()
    path = "compiled" if data_path_compiled() else "interpreted"
    log.info(f"process up: {VERSION_LINE}, data path: {path}")
    process.notify_ready()
    tune_garbage_collection()
    up(pooler)
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
