"""What one server connection still owes: the queue of outstanding requests.

Every request that is sent to a server is pushed here, and leaves when the reply that ends it arrives. A
server may go to another client only when its queue is empty: that is what keeps one client's rows from
another (docs/architecture.md, "Correctness").

An entry is the type byte of the request plus what becomes of its reply:

- FORWARD: the reply belongs to the client,
- SWALLOW: the pooler asked (a Parse for a statement that this server had not seen, a Close of an evicted
  one); the client must not see the reply,
- FAKE: nothing was sent to the server; the pooler owes the client a reply of its own, which has to wait its
  turn.
- REPLACE: the request was sent to fail in place of one that the pooler refuses; the client gets the pooler's
  error.

CopyDone and CopyFail are marks without a reply: they say where in the queue a COPY FROM STDIN ended, because
the server ignores a Sync that it reads while it copies (protocol chapter, "COPY Operations").
"""

from collections import deque
from typing import Final

from mypy_extensions import i64

from pooler.wire.framing import COPY_DONE, COPY_FAIL, DESCRIBE, EXECUTE, FUNCTION_CALL, QUERY, SYNC
from pooler.wire.prepared import Change

FORWARD: Final = 0x000
SWALLOW: Final = 0x100
FAKE: Final = 0x200
REPLACE: Final = 0x300

TRACKED: Final = 0x400
"""The request changes which statements are prepared; `RequestQueue.changes` has how."""

KIND: Final = 0xFF
"""Mask of the request's type in an entry."""
ACTION: Final = 0x300
"""Mask of the action in an entry."""

_RUN: Final = (EXECUTE, SYNC)
_DESCRIBED_RUN: Final = (DESCRIBE, EXECUTE, SYNC)


class RequestQueue:
    """The requests that one server has been sent and has not finished answering, oldest first.

    `skipping` is true after an error in the extended protocol: the server then discards everything up to the
    next Sync (protocol chapter, "Extended Query"), so nothing that is sent meanwhile is owed an answer.
    """

    __slots__ = (
        "changes",
        "copying",
        "head",
        "rest",
        "skipping",
        "undone",
        "unsettled",
    )

    head: i64
    rest: deque[int]
    copying: bool
    skipping: bool
    changes: deque[Change]
    unsettled: i64
    """How many changes stand before a Sync that was sent: nobody knows yet whether they will hold."""
    undone: list[Change]
    """Changes of requests that the server threw away, oldest first; whoever reports an error takes them."""

    def __init__(self) -> None:
        self.head = 0
        self.rest = deque()
        self.copying = False
        self.skipping = False
        self.changes = deque()
        self.unsettled = 0
        self.undone = []

    def __len__(self) -> int:
        return 0 if self.head == 0 else 1 + len(self.rest)

    def entries(self) -> list[int]:
        """The outstanding entries, oldest first."""
        return [] if self.head == 0 else [int(self.head), *self.rest]

    def newest(self) -> i64:
        """The entry that was pushed last; 0 if nothing is outstanding."""
        return self.rest[-1] if self.rest else self.head

    def push(self, entry: i64) -> bool:
        """A request is about to be sent. False: the server will discard it, and owes nothing for it."""
        kind = entry & KIND
        if self.skipping:
            if kind != SYNC:
                return False
            self.skipping = False
        if kind == SYNC:
            self.unsettled = len(self.changes)
        if self.head == 0:
            if kind == COPY_DONE or kind == COPY_FAIL:
                return False
            self.head = entry
        else:
            self.rest.append(entry)
        return True

    def push_run(self, described: bool) -> None:
        """Like push for the Execute and the Sync that most pipelines end with, `described` before them."""
        if self.head == 0 or self.skipping:
            if described:
                self.push(DESCRIBE)
            self.push(EXECUTE)
            self.push(SYNC)
            return
        self.unsettled = len(self.changes)
        self.rest.extend(_DESCRIBED_RUN if described else _RUN)

    def push_change(self, entry: i64, change: Change) -> bool:
        """Like push, for a request that changes which statements are prepared."""
        if not self.push(entry | TRACKED):
            return False
        self.changes.append(change)
        return True

    def push_forgetting(self, entry: i64) -> None:
        """Like push, for a Query that takes away all prepared statements: until it is answered nobody knows
        which there are.
        """
        if self.push_change(entry, Change(int(entry), None, None)):
            self.unsettled = len(self.changes)

    def answered(self, kind: i64) -> i64:
        """A reply that ends a request of this kind arrived: the action of that request, or FORWARD if it was
        not the oldest.
        """
        head = self.head
        if head & KIND != kind:
            return FORWARD
        if head == kind and self.rest:
            following: i64 = self.rest[0]
            if following != COPY_DONE and following != COPY_FAIL:
                self.head = following
                self.rest.popleft()
                return FORWARD
        self._drop_head()
        return head & ACTION

    def ready(self) -> i64:
        """ReadyForQuery arrived: the action of the Query, FunctionCall or Sync that it ends.

        A server that says it is ready has answered or thrown away all that came before.
        """
        self.copying = False
        self.skipping = False
        if (self.head == QUERY or self.head == SYNC) and not self.rest:
            self.head = 0
            return FORWARD
        while self.head != 0:
            kind = self.head & KIND
            action = self.head & ACTION
            self._drop_head()
            if kind == SYNC or kind == QUERY or kind == FUNCTION_CALL:
                # Of a Query that was replaced, the end is as good as that of the client's own.
                return FORWARD if action == REPLACE else action
        return FORWARD

    def failed(self) -> list[int]:
        """ErrorResponse arrived: returns the entries that the server will now throw away unanswered.

        In the extended protocol these are the failed request itself and all that was sent behind it up to the
        next Sync.
        """
        dropped: list[int] = []
        extended = self.head != 0 and not self._head_is_simple()
        if self.copying:
            self.copying = False
            self._drop_through_copy_end(dropped)
        if not extended:
            return dropped
        while self.head != 0 and self.head & KIND != SYNC:
            dropped.append(int(self.head))
            self._drop_head(undo=True)
        self.skipping = self.head == 0
        return dropped

    def copy_started(self) -> None:
        """CopyInResponse arrived: the server reads copy data from now on, and ignores Sync and Flush."""
        self.copying = True

    def completed(self) -> i64:
        """CommandComplete arrived: ends an Execute, and ends the COPY if one is under way. Returns the
        action.
        """
        if self.copying:
            self.copying = False
            self._drop_through_copy_end([])
        return self.answered(EXECUTE)

    def next_fake(self) -> i64:
        """Takes the oldest entry if it is a reply that the pooler owes by itself: its kind, else 0."""
        if self.head & ACTION != FAKE:
            return 0
        kind = self.head & KIND
        self._drop_head()
        return kind

    def clear(self) -> None:
        """The server connection is gone, or was proved clean."""
        self.head = 0
        self.changes.clear()
        self.unsettled = 0
        self.undone.clear()
        self.rest.clear()
        self.copying = False
        self.skipping = False

    def _head_is_simple(self) -> bool:
        kind = self.head & KIND
        return kind == QUERY or kind == FUNCTION_CALL or kind == SYNC

    def _drop_head(self, undo: bool = False) -> None:
        if self.head & TRACKED:
            change = self._next_change()
            if undo:
                self.undone.append(change)
        while self.rest:
            entry: i64 = self.rest.popleft()
            kind = entry & KIND
            if kind != COPY_DONE and kind != COPY_FAIL:
                self.head = entry
                return
        self.head = 0

    def _next_change(self) -> Change:
        if self.unsettled > 0:
            self.unsettled -= 1
        return self.changes.popleft()

    def _drop_through_copy_end(self, dropped: list[int]) -> None:
        """Drops what was sent behind the copying request up to the end of its data, or all of it if the end
        was not sent yet.
        """
        while self.rest:
            entry = self.rest.popleft()
            kind = entry & KIND
            if kind == COPY_DONE or kind == COPY_FAIL:
                return
            if entry & TRACKED:
                self.undone.append(self._next_change())
            dropped.append(entry)
