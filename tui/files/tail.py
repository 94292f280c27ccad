"""Follows a log file while it grows, is renamed, made anew or cut off."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MAX_LINE: Final = 4096
"""Bytes of a line that are kept; what poolers write is half of that at most."""

BLOCK: Final = 64 * 1024
PER_READ: Final = 1024 * 1024
"""Bytes that one `read` takes at most: what shows them must not wait."""

MAX_BEHIND: Final = 16 * 1024 * 1024
"""With more unread bytes than that the oldest are passed over."""

_MARK: Final = 256
_GRACE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What has come since the last time."""

    lines: tuple[bytes, ...] = ()
    problem: str | None = None
    """Why there is nothing to follow; the next `read` tries again."""
    passed_over: int = 0
    """Bytes that were not read because there were too many."""
    more: bool = False
    """There is more already: `read` again soon."""


class _Lines:
    """Cuts bytes into lines; of a long one only the beginning is kept, however long it gets."""

    def __init__(self) -> None:
        self._open = b""
        self._cut = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end in `data`."""
        *ended, rest = data.split(b"\n")
        found = []
        for part in ended:
            self._add(part)
            found.append(self._close())
        self._add(rest)
        return found

    def flush(self) -> list[bytes]:
        """What is left when nothing more comes."""
        return [self._close()] if self._open or self._cut else []

    def _add(self, part: bytes) -> None:
        room = MAX_LINE - len(self._open)
        self._open += part[:room]
        self._cut += max(0, len(part) - room)

    def _close(self) -> bytes:
        line, cut = self._open.rstrip(b"\r"), self._cut
        self._open, self._cut = b"", 0
        return b"%b... (%d more bytes)" % (line, cut) if cut else line


@dataclass(slots=True)
class _Open:
    """A file that is read, and how far."""

    descriptor: int
    offset: int
    grew: float
    lines: _Lines = field(default_factory=_Lines)
    mark: bytes = b""
    """The last bytes before `offset`: if others stand there, the file was cut off and has grown again."""


class Tail:
    """The lines of the file at `path`, from the last `last` on.

    What was renamed is read to its end, and for a while longer, since its writer may not know it yet. A file
    that was cut off is read from its beginning. Any thread may read or close. `clock` gives seconds.
    """

    def __init__(self, path: str, last: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.path: Final = path
        self._last = last
        self._clock = clock
        self._former: list[_Open] = []
        self._file: _Open | None = None
        self._begun = False
        self._closed = False
        # Who closes must not take the descriptor from under who reads: it may be another file at once.
        self._turn = threading.Lock()

    def read(self) -> Batch:
        """All that is new, up to a limit. Raises nothing."""
        with self._turn:
            if self._closed:
                return Batch()
            try:
                return self._batch()
            except OSError as error:
                return Batch(problem=f"{self.path}: {error.strerror}")

    def _batch(self) -> Batch:
        problem = self._look()
        if self._file is None:
            return Batch(problem=problem)
        lines: list[bytes] = []
        passed_over = 0
        more = False
        for file in list(self._former):
            part, _, unread = self._read(file)
            lines += part
            more |= unread
        if not more:
            part, passed_over, more = self._read(self._file)
            lines += part
            lines += self._dismiss()
        return Batch(tuple(lines), problem, passed_over, more)

    def close(self) -> None:
        """Let go of the files; nothing is read after that."""
        with self._turn:
            for file in (*self._former, *((self._file,) if self._file else ())):
                os.close(file.descriptor)
            self._former, self._file = [], None
            self._closed = True

    def _look(self) -> str | None:
        """See which file is at the path now; what is wrong with it is returned."""
        try:
            status = os.stat(self.path)
            if not stat.S_ISREG(status.st_mode):
                kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
                return f"{self.path} is {kind}"
            if self._is_open(status):
                return None
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        except ValueError:
            return f"{self.path!r} is not a file name"
        try:
            offset = 0 if self._begun else _start_of_last(descriptor, self._last)
        except OSError:
            os.close(descriptor)
            raise
        if self._file is not None:
            self._former.append(self._file)
        self._file = _Open(descriptor, offset, self._clock())
        self._begun = True
        return None

    def _is_open(self, status: os.stat_result) -> bool:
        """Whether the file at the path is the one that is read, or one that was, and was renamed back."""
        for file in (*self._former, *((self._file,) if self._file else ())):
            if not os.path.samestat(os.fstat(file.descriptor), status):
                continue
            if file is not self._file and self._file is not None:
                self._former[self._former.index(file)] = self._file
                self._file = file
            return True
        return False

    def _read(self, file: _Open) -> tuple[list[bytes], int, bool]:
        """New lines, bytes that were passed over, and whether there is more."""
        lines: list[bytes] = []
        passed_over = 0
        size = os.fstat(file.descriptor).st_size
        if size < file.offset or _before(file.descriptor, file.offset, len(file.mark)) != file.mark:
            lines += file.lines.flush()
            file.offset, file.mark = 0, b""
        if size - file.offset > MAX_BEHIND:
            start = size - MAX_BEHIND
            start += os.pread(file.descriptor, BLOCK, start).find(b"\n") + 1
            passed_over, file.offset = start - file.offset, start
            file.lines = _Lines()
            file.mark = b""
        taken = 0
        while taken < PER_READ:
            data = os.pread(file.descriptor, BLOCK, file.offset)
            if not data:
                break
            taken += len(data)
            file.offset += len(data)
            file.mark = (file.mark + data)[-_MARK:]
            lines += file.lines.feed(data)
        if taken:
            file.grew = self._clock()
        return lines, passed_over, taken >= PER_READ

    def _dismiss(self) -> list[bytes]:
        """Close what was renamed and has not grown for a while; what was left of its last line."""
        lines: list[bytes] = []
        now = self._clock()
        for file in [file for file in self._former if now - file.grew > _GRACE]:
            lines += file.lines.flush()
            os.close(file.descriptor)
            self._former.remove(file)
        return lines


def _before(descriptor: int, offset: int, length: int) -> bytes:
    return os.pread(descriptor, length, offset - length)


def _start_of_last(descriptor: int, lines: int) -> int:
    """Where the last `lines` lines begin, as far as they are within the bytes that are read at all."""
    end = os.fstat(descriptor).st_size
    start, lowest = end, max(0, end - MAX_BEHIND)
    # The line end of the last line ends it, and begins none.
    wanted = lines + 1
    while start > lowest:
        length = min(BLOCK, start - lowest)
        block = os.pread(descriptor, length, start - length)
        if start == end and not block.endswith(b"\n"):
            wanted -= 1
        found = block.count(b"\n")
        if found >= wanted:
            place = len(block)
            for _ in range(wanted):
                place = block.rindex(b"\n", 0, place)
            return start - length + place + 1
        wanted -= found
        start -= length
    return start
