"""`pooldeck-pgbouncer`: the pooler as a process, with PgBouncer's command line, boot lines, signals and exit
codes.
"""

import asyncio
import signal
import sys
from collections.abc import Sequence

import uvloop

from pooler.service.log import Log
from pooler.service.options import Options, parse_or_exit
from pooler.service.pooler import Pooler
from pooler.service.signals import signal_actions
from pooler.service.start import START_ERRORS, prepare, serve


def main(argv: Sequence[str] | None = None) -> int:
    """The executable."""
    return run(parse_or_exit(sys.argv if argv is None else argv))


def run(options: Options) -> int:
    """Runs a pooler in this process until it is shut down; returns the exit code."""
    log = Log(quiet=options.quiet)
    try:
        snapshot, pidfile = prepare(options, log)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(options, snapshot, log, pidfile, made=_handle_signals))
    except START_ERRORS as error:
        log.fatal(str(error))
        return 1
    finally:
        log.close()
    return 0


def _handle_signals(pooler: Pooler) -> None:
    loop = asyncio.get_running_loop()
    for number, act in signal_actions(pooler).items():
        loop.add_signal_handler(number, act)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
