"""The worker threads of external logins and their queue, beside uvloop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pooler.auth import external
from pooler.auth.external import (
    Check,
    ExternalAuth,
    MissingExtra,
    Verdict,
    Workers,
    require_ldap,
    require_pam,
)
from pooler.auth.ldap import LdapClient
from pooler.auth.ldap_options import LdapOptions
from pooler.auth.pam import PamRefused
from tests.support.external import Answer, ask, external_auth, run

OPTIONS = LdapOptions.parse('ldapserver=h ldapprefix="uid="')


class Gate(LdapClient):
    """A directory that keeps everybody waiting until it is opened, and has something to say to some."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.entered: list[str] = []
        self.entries = threading.Semaphore(0)

    def authenticate(self, options: LdapOptions, user: str, password: str) -> None:
        self.entered.append(user)
        self.entries.release()
        assert self.opened.wait(20)
        if user == "broken":
            raise RuntimeError(password)

    async def wait_entered(self, count: int) -> None:
        for _ in range(count):
            assert await asyncio.to_thread(self.entries.acquire, timeout=20)


def test_so_many_are_checked_at_once_and_the_others_wait() -> None:
    async def asked() -> tuple[int, int, list[Answer]]:
        gate = Gate()
        with external_auth(ldap_client=gate) as auth:
            answers = [asyncio.ensure_future(ask(auth, OPTIONS, f"u{n}", "x")) for n in range(20)]
            await gate.wait_entered(external.LDAP_THREADS)
            at_once, waiting = len(gate.entered), auth._ldap.waiting
            gate.opened.set()
            return at_once, waiting, await asyncio.gather(*answers)

    assert run(asked) == (external.LDAP_THREADS, 20 - external.LDAP_THREADS, [(True, "")] * 20)


def test_a_full_queue_refuses_and_a_cancelled_check_makes_room() -> None:
    gate, called = Gate(), Called()

    async def asked() -> tuple[list[Answer], Answer]:
        with external_auth(ldap_client=gate, queue_limit=2000) as auth:
            working = []
            for _ in range(external.LDAP_THREADS - 1):
                working.append(asyncio.ensure_future(ask(auth, OPTIONS, "w", "x")))
                await gate.wait_entered(1)
            begun = auth.check_ldap(OPTIONS, "w", "x", called)
            await gate.wait_entered(1)
            gone = [auth.check_ldap(OPTIONS, "gone", "x", called) for _ in range(3)]
            refused = await ask(auth, OPTIONS, "late", "x")
            for check in (begun, *gone):
                check.cancel()
            last = asyncio.ensure_future(ask(auth, OPTIONS, "last", "x"))
            await asyncio.sleep(0)
            gate.opened.set()
            return await asyncio.gather(*working, last), refused

    answers, refused = run(asked)
    assert answers == [(True, "")] * external.LDAP_THREADS
    assert refused == (False, "LDAP queue is full, 3 logins are waiting")
    assert sorted(set(gate.entered)) == ["last", "w"]
    assert called.answers == []


class Called:
    """Keeps what it is called with."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def __call__(self, confirmed: bool, reason: str) -> None:
        self.answers.append((confirmed, reason))


def test_a_check_that_breaks_is_refused_without_its_text() -> None:
    async def asked() -> tuple[Answer, Answer]:
        gate = Gate()
        gate.opened.set()
        with external_auth(ldap_client=gate) as auth:
            return await ask(auth, OPTIONS, "broken", "secret"), await ask(auth, OPTIONS, "next", "x")

    assert run(asked) == ((False, "the check failed with RuntimeError"), (True, ""))


def test_after_close_nobody_is_called_and_threads_end() -> None:
    gate, opened, called = Gate(), Gate(), Called()

    async def asked() -> list[threading.Thread]:
        before = set(threading.enumerate())
        opened.opened.set()
        with external_auth(ldap_client=opened) as idle, external_auth(ldap_client=gate) as busy:
            await ask(idle, OPTIONS, "u", "x")
            for _ in range(external.LDAP_THREADS + 1):
                busy.check_ldap(OPTIONS, "u", "x", called)
            await gate.wait_entered(external.LDAP_THREADS)
            ours = [
                thread for thread in set(threading.enumerate()) - before if thread.name.startswith("ldap-")
            ]
        gate.opened.set()
        for thread in ours:
            await asyncio.to_thread(thread.join, 20)
        return ours

    threads = run(asked)
    assert [thread.is_alive() for thread in threads] == [False] * (external.LDAP_THREADS + 1)
    assert called.answers == []
    assert len(gate.entered) == external.LDAP_THREADS


def test_an_answer_for_a_loop_that_has_ended_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, tried, raised = Gate(), threading.Semaphore(0), list[object]()
    monkeypatch.setattr(threading, "excepthook", raised.append)

    async def asked() -> tuple[ExternalAuth, threading.Thread]:
        loop = asyncio.get_running_loop()

        def call_soon_threadsafe(*call: Any) -> None:
            tried.release()
            loop.call_soon_threadsafe(*call)

        auth = ExternalAuth(call_soon_threadsafe, loop.call_later, gate)
        auth.check_ldap(OPTIONS, "u", "x", Called())
        await gate.wait_entered(1)
        return auth, next(thread for thread in threading.enumerate() if thread.name == "ldap-1")

    auth, thread = run(asked)
    gate.opened.set()
    assert tried.acquire(timeout=20)
    auth.close()
    thread.join(20)
    assert (thread.is_alive(), raised) == (False, [])


@pytest.mark.parametrize("end", [None, Check.cancel, ExternalAuth.close])
def test_a_refusal_that_has_to_wait_does_so_on_the_loop(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[Any], None] | None
) -> None:
    def refuse(user: str, password: str, remote_host: str) -> None:
        raise PamRefused(f"{user} from {remote_host}", 2.5)

    monkeypatch.setattr("pooler.auth.pam.authenticate", refuse)
    called = Called()

    async def asked() -> float:
        loop = asyncio.get_running_loop()
        scheduled: asyncio.Future[tuple[Any, ...]] = loop.create_future()
        auth = ExternalAuth(loop.call_soon_threadsafe, lambda *call: scheduled.set_result(call))
        check = auth.check_pam("u", "x", "192.0.2.1", called)
        delay, callback, *arguments = await scheduled
        assert called.answers == []
        if end is not None:
            end(check if end is Check.cancel else auth)
        callback(*arguments)
        auth.close()
        return float(delay)

    assert run(asked) == 2.5
    assert called.answers == ([(False, "u from 192.0.2.1")] if end is None else [])


def test_with_patience_a_second_thread_starts_only_when_the_first_hangs() -> None:
    now = [1000.0]
    later: list[tuple[float, Callable[[], None]]] = []
    answered: list[str] = []
    threads: list[threading.Thread] = []
    steps = threading.Semaphore(0)
    hanging, released = threading.Event(), threading.Event()

    def answer(check: Check, verdict: Verdict) -> None:
        answered.append(verdict.reason)
        steps.release()

    workers = Workers("w", 4, 10.0, answer, lambda *call: later.append(call), clock=lambda: now[0])

    def submit(reason: str, wait: threading.Event | None = None) -> None:
        def check() -> Verdict:
            if wait is not None:
                threads.append(threading.current_thread())
                hanging.set()
                wait.wait(20)
            return Verdict(False, f"{reason} {threading.current_thread().name}")

        assert workers.submit(Check(check, 1, Called(), workers))

    submit("first")
    assert steps.acquire(timeout=20)
    submit("stuck", released)
    assert hanging.wait(20)
    submit("second")
    assert (workers.waiting, [delay for delay, _ in later]) == (1, [10.0])
    now[0] += 10.0
    later.pop()[1]()
    assert steps.acquire(timeout=20)
    released.set()
    assert steps.acquire(timeout=20)
    threads[0].join(20)
    submit("third")
    assert steps.acquire(timeout=20)
    workers.close()
    assert answered == ["first w-1", "second w-2", "stuck w-1", "third w-2"]
    assert not threads[0].is_alive()


_HANGING = """
import asyncio, sys
import uvloop
from pooler.auth.external import ExternalAuth
from pooler.auth.ldap_options import LdapOptions

async def main():
    begun = asyncio.Event()
    async def serve(reader, writer):
        begun.set()
        await asyncio.sleep(3600)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    auth = ExternalAuth(loop.call_soon_threadsafe, loop.call_later)
    options = LdapOptions.parse(f'ldapserver=127.0.0.1 ldapport={port} ldapprefix="uid="')
    auth.check_ldap(options, "alice", "wonder", print)
    await begun.wait()
    if sys.argv[1] == "close":
        auth.close()

uvloop.run(main())
print("ended")
"""


@pytest.mark.parametrize("end", ["close", "forget"])
def test_a_server_that_hangs_does_not_keep_the_process(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HANGING, end], check=True, timeout=50, stdout=subprocess.PIPE
    )
    assert done.stdout == b"ended\n"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ldap3", "pamela"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingExtra, match=r'^LDAP needs the extra "ldap": pip install "pooldeck\[ldap\]" \(.*ldap3'
    ):
        require_ldap()
    with pytest.raises(
        MissingExtra, match=r'^PAM needs the extra "pam": pip install "pooldeck\[pam\]" \(.*pamela'
    ):
        require_pam()


def test_a_missing_libpam_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pamela", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None if name == "pam" else "libc.so.6")
    with pytest.raises(MissingExtra, match="libpam, which was not found"):
        require_pam()
