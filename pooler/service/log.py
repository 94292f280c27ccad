"""The pooler's log: PgBouncer's line format on stderr, in a file, in syslog and in the systemd journal.

A line is ``2026-11-20 18:11:07.160 UTC [22234] LOG message``. One message is one line: whatever a client
manages to put into a message (a name, an error text), it cannot start a line of its own.
"""

from __future__ import annotations

import os
import socket
import sys
import syslog
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pooler.config.settings import Settings

MAX_MESSAGE = 2047
"""Characters of a message, prefix included, that are logged; the rest is cut off, as PgBouncer does."""

KEPT_LINES = 10_000
"""Lines that stay in memory, for SHOW LOG."""

JOURNAL_SOCKET = "/run/systemd/journal/socket"

FACILITIES = {
    "auth": syslog.LOG_AUTH,
    "authpriv": syslog.LOG_AUTHPRIV,
    "daemon": syslog.LOG_DAEMON,
    "user": syslog.LOG_USER,
    "local0": syslog.LOG_LOCAL0,
    "local1": syslog.LOG_LOCAL1,
    "local2": syslog.LOG_LOCAL2,
    "local3": syslog.LOG_LOCAL3,
    "local4": syslog.LOG_LOCAL4,
    "local5": syslog.LOG_LOCAL5,
    "local6": syslog.LOG_LOCAL6,
    "local7": syslog.LOG_LOCAL7,
}
"""Values of the ``syslog_facility`` setting."""


class LogError(Exception):
    """The log cannot go where the settings send it."""


class _Level(NamedTuple):
    tag: str
    priority: int


_FATAL = _Level("FATAL", syslog.LOG_CRIT)
_ERROR = _Level("ERROR", syslog.LOG_ERR)
_WARNING = _Level("WARNING", syslog.LOG_WARNING)
_INFO = _Level("LOG", syslog.LOG_INFO)
_DEBUG = _Level("DEBUG", syslog.LOG_DEBUG)
_NOISE = _Level("NOISE", syslog.LOG_DEBUG)


class Log:
    """Writes log lines to every destination that the settings name.

    Until :meth:`configure` it writes to stderr alone. A line that cannot be written is counted in
    ``write_errors`` and dropped: the pooler never stops, nor waits longer than the write itself, for its log.

    :ivar recent: the last lines, the oldest first: number, time, level and text of each.
    :ivar debugging: DEBUG lines are shown (``verbose`` >= 1); ask before formatting one.
    :ivar noisy: NOISE lines are shown (``verbose`` >= 2).

    :param quiet: nothing goes to stderr.
    :param clock: seconds since the epoch.
    :param stderr: descriptor that stands for stderr.
    :param environ: where ``JOURNAL_STREAM`` is looked up.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        clock: Callable[[], float] = time.time,
        stderr: int = 2,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.debugging = False
        self.noisy = False
        self.write_errors = 0
        self.recent: deque[tuple[int, str, str, str]] = deque(maxlen=KEPT_LINES)
        self._lines = 0
        self._quiet = quiet
        self._clock = clock
        self._stderr = stderr
        self._journal = _connect_journal(environ.get("JOURNAL_STREAM", ""), stderr)
        self._path = ""
        self._file: int | None = None
        self._syslog = False
        self._second = -1
        self._date = ""
        self._zone = ""

    def configure(self, settings: Settings, quiet: bool) -> None:
        """Apply ``logfile``, ``verbose`` and the ``syslog`` settings; the file is opened anew.

        :raises LogError: the file cannot be opened or the facility is unknown; nothing has changed then.
        """
        facility = _facility(settings.syslog_facility) if settings.syslog else None
        file = _open(settings.logfile)
        self._use_file(file)
        self._path = settings.logfile
        self._quiet = quiet
        self.debugging = settings.verbose > 0
        self.noisy = settings.verbose > 1
        self._use_syslog(settings.syslog_ident, facility)

    def reopen(self) -> None:
        """Open the log file anew, after it was rotated away.

        :raises LogError: it cannot be opened; the old file stays in use then.
        """
        self._use_file(_open(self._path))

    def close(self) -> None:
        """Close the file, syslog and the journal; stderr stays usable."""
        self._use_file(None)
        self._use_syslog("", None)
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def fatal(self, message: str, prefix: str = "") -> None:
        """Log why the pooler stops; stopping is up to the caller."""
        self._emit(_FATAL, prefix, message)

    def error(self, message: str, prefix: str = "") -> None:
        self._emit(_ERROR, prefix, message)

    def warning(self, message: str, prefix: str = "") -> None:
        self._emit(_WARNING, prefix, message)

    def info(self, message: str, prefix: str = "") -> None:
        """Log at the level whose tag is ``LOG``."""
        self._emit(_INFO, prefix, message)

    def debug(self, message: str, prefix: str = "") -> None:
        if self.debugging:
            self._emit(_DEBUG, prefix, message)

    def noise(self, message: str, prefix: str = "") -> None:
        if self.noisy:
            self._emit(_NOISE, prefix, message)

    def _emit(self, level: _Level, prefix: str, message: str) -> None:
        text = _one_line((prefix + message.rstrip())[:MAX_MESSAGE])
        when = self._timestamp()
        self._lines += 1
        self.recent.append((self._lines, when, level.tag, text))
        line = f"{when} [{os.getpid()}] {level.tag} {text}\n".encode()
        if not self._quiet and not self._sent_to_journal(level, text):
            self._write(self._stderr, line)
        if self._file is not None:
            self._write(self._file, line)
        # PgBouncer keeps its debugging output out of syslog
        if self._syslog and level.priority <= syslog.LOG_INFO:
            syslog.syslog(level.priority, text)

    def _timestamp(self) -> str:
        now = self._clock()
        second = int(now)
        if second != self._second:
            local = time.localtime(second)
            self._second = second
            self._date = time.strftime("%Y-%m-%d %H:%M:%S", local)
            self._zone = local.tm_zone
        return f"{self._date}.{int((now - second) * 1000):03d} {self._zone}"

    def _write(self, descriptor: int, line: bytes) -> None:
        try:
            written = os.write(descriptor, line)
        except OSError:
            written = 0
        if written != len(line):
            self.write_errors += 1

    def _sent_to_journal(self, level: _Level, text: str) -> bool:
        if self._journal is None:
            return False
        name = os.path.basename(sys.argv[0])
        entry = f"PRIORITY={level.priority}\nSYSLOG_IDENTIFIER={name}\nMESSAGE={text}\n"
        try:
            self._journal.send(entry.encode("utf-8", "backslashreplace"))
        except OSError:
            return False
        return True

    def _use_file(self, file: int | None) -> None:
        old, self._file = self._file, file
        if old is not None:
            os.close(old)

    def _use_syslog(self, ident: str, facility: int | None) -> None:
        if self._syslog:
            syslog.closelog()
        self._syslog = facility is not None
        if facility is not None:
            syslog.openlog(ident, syslog.LOG_PID, facility)


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _facility(name: str) -> int:
    if name not in FACILITIES:
        raise LogError(f"unknown syslog_facility '{name}', use one of: {', '.join(FACILITIES)}")
    return FACILITIES[name]


def _open(path: str) -> int | None:
    if not path:
        return None
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise LogError(f"Cannot open logfile: '{path}': {reason}") from None


def _connect_journal(stream: str, stderr: int) -> socket.socket | None:
    """Socket of the systemd journal, when stderr is the journal stream that ``JOURNAL_STREAM`` names.

    journald's native protocol carries the priority of a message, and journald adds the time and the pid, so a
    message goes there bare, as PgBouncer built with systemd sends it.
    """
    try:
        device, inode = map(int, stream.split(":"))
        status = os.fstat(stderr)
    except (ValueError, OSError):
        return None
    if (status.st_dev, status.st_ino) != (device, inode):
        return None
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        journal.setblocking(False)
        journal.connect(JOURNAL_SOCKET)
    except OSError:
        journal.close()
        return None
    return journal
