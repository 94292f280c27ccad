"""PAM and LDAP: logins that somebody else checks, in worker threads, so that the event loop never waits.

The loop hands a login over with `check_pam` or `check_ldap` and hears of it later, on the loop. Threads are
started when they are needed and are daemons: one that hangs in a PAM module does not keep the process alive.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from pooler.auth import ldap, pam
from pooler.auth.ldap import LdapClient, LdapRefused
from pooler.auth.ldap_options import LdapOptions
from pooler.auth.pam import PamRefused

LDAP_THREADS: Final = 8

PAM_THREADS: Final = 4
"""At most; one works alone unless it has been at the same login for PAM_PATIENCE."""

PAM_PATIENCE: Final = 10.0
"""Seconds. Many PAM modules are not made for threads: a second one starts only when the first one hangs."""

QUEUE_LIMIT: Final = 16 << 20
"""Bytes that waiting logins may take for each method: some 30,000 ordinary ones."""

_CHECK_COST: Final = 512
"""Bytes of a waiting login, without name and password."""

Done: TypeAlias = Callable[[bool, str], None]
CallSoonThreadsafe: TypeAlias = Callable[..., object]
CallLater: TypeAlias = Callable[..., object]


class MissingExtra(Exception):
    """What a method needs is not installed; the text says what to install."""


def require_pam() -> None:
    """Loads what `pam` needs; raises MissingExtra."""
    try:
        pam.load()
    except ImportError as error:
        raise MissingExtra(f'PAM needs the extra "pam": pip install "pooldeck[pam]" ({error})') from None
    except (OSError, AttributeError):
        raise MissingExtra("PAM needs the system's library libpam, which was not found") from None


def require_ldap() -> None:
    """Loads what `ldap` needs; raises MissingExtra."""
    try:
        ldap.load()
    except ImportError as error:
        raise MissingExtra(f'LDAP needs the extra "ldap": pip install "pooldeck[ldap]" ({error})') from None


class Verdict(NamedTuple):
    """What came of a check: whether the login is confirmed, if not why, and seconds to wait with the news."""

    confirmed: bool
    reason: str = ""
    delay: float = 0.0


class Check:
    """One login on its way. Whoever asked may drop it when the client is gone, or ignore the answer."""

    __slots__ = ("_workers", "cost", "done", "run")

    def __init__(self, run: Callable[[], Verdict], cost: int, done: Done, workers: Workers) -> None:
        self.run: Callable[[], Verdict] | None = run
        self.cost = cost
        self.done: Done | None = done
        self._workers = workers

    def cancel(self) -> None:
        """On the loop: `done` is not called any more, and a check that waits is not begun."""
        self.done = None
        self._workers.drop(self)

    def finish(self, verdict: Verdict) -> None:
        done, self.done = self.done, None
        if done is not None:
            done(verdict.confirmed, verdict.reason)


class Workers:
    """Threads that work off a queue of checks, first come first served.

    Another thread starts when none is idle and no check has been begun for `patience` seconds. Without
    patience (0) all of them go on working; with it, only the last one does when the others come back.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        patience: float,
        answer: Callable[[Check, Verdict], None],
        call_later: CallLater,
        queue_limit: int = QUEUE_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._limit = threads
        self._patience = patience
        self._answer = answer
        self._call_later = call_later
        self._queue_limit = queue_limit
        self._clock = clock
        self._condition = threading.Condition()
        self._queue: OrderedDict[Check, None] = OrderedDict()
        self._queued = 0
        self._threads = 0
        self._idle = 0
        self._last = 0
        self._begun = 0.0
        self._watching = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many checks are not begun yet."""
        return len(self._queue)

    def submit(self, check: Check) -> bool:
        """On the loop: puts a check in line; False if the queue is full."""
        with self._condition:
            if self._queued + check.cost > self._queue_limit:
                return False
            self._queue[check] = None
            self._queued += check.cost
            self._condition.notify()
            self._staff()
        return True

    def drop(self, check: Check) -> None:
        """On the loop: takes a check out of the line, if it is still there."""
        with self._condition:
            if check in self._queue:
                self._remove(check)

    def close(self) -> None:
        """Forgets what waits and lets idle threads end."""
        with self._condition:
            self._closed = True
            self._queue.clear()
            self._condition.notify_all()

    def _staff(self) -> None:
        """Starts a thread if one is due, or looks again later."""
        if len(self._queue) <= self._idle or self._threads >= self._limit or self._closed:
            return
        if self._threads == 0 or self._clock() - self._begun >= self._patience:
            # If the system has no thread left, those at work go on, and the next login tries again.
            with suppress(RuntimeError):
                self._start()
        elif not self._watching:
            self._watching = True
            self._call_later(self._patience, self._look_again)

    def _start(self) -> None:
        number = self._last + 1
        threading.Thread(
            target=self._work, args=(number,), name=f"{self._name}-{number}", daemon=True
        ).start()
        self._last = number
        self._threads += 1
        self._begun = self._clock()

    def _look_again(self) -> None:
        with self._condition:
            self._watching = False
            self._staff()

    def _work(self, number: int) -> None:
        while (check := self._next(number)) is not None:
            run, check.run = check.run, None
            assert run is not None
            verdict = _guarded(run)
            del run  # with it goes the password
            self._answer(check, verdict)

    def _next(self, number: int) -> Check | None:
        """Waits for a check; None if this thread is to end."""
        with self._condition:
            self._idle += 1
            while not self._queue and not self._superfluous(number):
                self._condition.wait()
            self._idle -= 1
            if self._superfluous(number):
                self._threads -= 1
                return None
            self._begun = self._clock()
            check = next(iter(self._queue))
            self._remove(check)
            return check

    def _superfluous(self, number: int) -> bool:
        return self._closed or (self._patience > 0 and number < self._last)

    def _remove(self, check: Check) -> None:
        del self._queue[check]
        self._queued -= check.cost


class ExternalAuth:
    """Where the loop has logins checked by PAM and LDAP.

    `call_soon_threadsafe` and `call_later` are the event loop's. All methods are for the loop's thread.
    """

    def __init__(
        self,
        call_soon_threadsafe: CallSoonThreadsafe,
        call_later: CallLater,
        ldap_client: LdapClient | None = None,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._call_soon_threadsafe = call_soon_threadsafe
        self._call_later = call_later
        self._ldap_client = ldap_client or LdapClient()
        self._closed = False
        self._pam = Workers("pam", PAM_THREADS, PAM_PATIENCE, self._answer, call_later, queue_limit)
        self._ldap = Workers("ldap", LDAP_THREADS, 0.0, self._answer, call_later, queue_limit)

    def check_pam(self, user: str, password: str, remote_host: str, done: Done) -> Check:
        """Has PAM check a login; `remote_host` is the client's address, "unix" on a unix socket.

        `done` is called later, with success and else a reason for the log, which never holds the password.
        """
        return self._submit(
            self._pam, "PAM", partial(_check_pam, user, password, remote_host), user, password, done
        )

    def check_ldap(self, options: LdapOptions, user: str, password: str, done: Done) -> Check:
        """Has a directory check a login; `done` as for `check_pam`."""
        run = partial(_check_ldap, self._ldap_client, options, user, password)
        return self._submit(self._ldap, "LDAP", run, user, password, done)

    def close(self) -> None:
        """Nothing is answered any more; threads that are at work are left to themselves."""
        self._closed = True
        self._pam.close()
        self._ldap.close()

    def _submit(
        self, workers: Workers, name: str, run: Callable[[], Verdict], user: str, password: str, done: Done
    ) -> Check:
        check = Check(run, _CHECK_COST + len(user) + len(password), done, workers)
        if not workers.submit(check):
            self._answer(check, Verdict(False, f"{name} queue is full, {workers.waiting} logins are waiting"))
        return check

    def _answer(self, check: Check, verdict: Verdict) -> None:
        """From any thread; a loop that has ended meanwhile needs no answer."""
        with suppress(RuntimeError):
            self._call_soon_threadsafe(self._deliver, check, verdict)

    def _deliver(self, check: Check, verdict: Verdict) -> None:
        if verdict.delay > 0:
            self._call_later(verdict.delay, self._finish, check, verdict)
        else:
            self._finish(check, verdict)

    def _finish(self, check: Check, verdict: Verdict) -> None:
        if not self._closed:
            check.finish(verdict)


def _check_pam(user: str, password: str, remote_host: str) -> Verdict:
    try:
        pam.authenticate(user, password, remote_host)
    except PamRefused as refused:
        return Verdict(False, str(refused), refused.delay)
    return Verdict(True)


def _check_ldap(client: LdapClient, options: LdapOptions, user: str, password: str) -> Verdict:
    try:
        client.authenticate(options, user, password)
    except LdapRefused as refused:
        return Verdict(False, str(refused))
    return Verdict(True)


def _guarded(run: Callable[[], Verdict]) -> Verdict:
    """A worker survives whatever a library raises; the text of that might quote the password."""
    try:
        return run()
    except Exception as error:
        return Verdict(False, f"the check failed with {type(error).__name__}")
