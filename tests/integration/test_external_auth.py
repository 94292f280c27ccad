"""Logins checked by a real slapd and a real PAM service, in worker threads beside uvloop."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import dns.message
import dns.resolver
import dns.rrset
import ldap3
import psycopg
import pytest
import uvloop

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
from pooler.auth.ldap import LdapClient, LdapOptions, find_ldap_servers
from pooler.auth.pam import PamRefused
from tests.conftest import PgBouncerFactory
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD
from tests.support.certificates import Authority
from tests.support.pamservice import PamService, find_libpam
from tests.support.require import missing
from tests.support.slapd import (
    BASE,
    MANAGER,
    MANAGER_PASSWORD,
    Slapd,
    Talk,
    answers_another_question,
    find_slapd,
    hangs_up,
    person,
    says_a_byte_now_and_then,
    says_nothing,
    says_too_much,
    starts_tls_and_lies_on,
    talks_nonsense,
    unit,
)

T = TypeVar("T")
Answer = tuple[bool, str]

LONG = "o=" + "йцукенгшщзхъфывапролджэячсмитьбю-" * 3

TREE = [
    unit("other"),
    person("uid=alice", "wonder", mail="alice@example.net"),
    person("uid=bob,ou=other", "bob's"),
    person("uid=twin", "1"),
    person("uid=twin,ou=other", "2"),
    person("uid=smith\\2c john", "sj", uid="smith, john"),
    person("uid=back\\5cslash", "bs", uid="back\\slash"),
    person("uid=sta*(r)", "star", uid="sta*(r)"),
    person("uid=jörg #1", "jörg's", uid="jörg #1"),
    f"dn: {LONG},{BASE}\nobjectClass: organization\n{LONG.replace('=', ': ')}\n",
    person(f"uid=long,{LONG}", "x" * 60_000, uid="long"),
]


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    try:
        find_slapd()
    except FileNotFoundError:
        missing("slapd")
    with Slapd(TREE) as server:
        yield server


@pytest.fixture
def pam_tools() -> None:
    try:
        find_libpam()
    except FileNotFoundError:
        missing("libpam")


def run(asked: Callable[[], Awaitable[T]]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_awaited(asked))


async def _awaited(asked: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(30):  # what pytest-timeout raises does not end uvloop
        return await asked()


@contextmanager
def external_auth(**options: Any) -> Iterator[ExternalAuth]:
    loop = asyncio.get_running_loop()
    auth = ExternalAuth(loop.call_soon_threadsafe, loop.call_later, **options)
    try:
        yield auth
    finally:
        auth.close()


async def ask(auth: ExternalAuth, options: LdapOptions, user: str, password: str) -> Answer:
    """One login, answered on the loop's own thread."""
    here = threading.get_ident()
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(confirmed: bool, reason: str) -> None:
        assert threading.get_ident() == here
        answer.set_result((confirmed, reason))

    auth.check_ldap(options, user, password, done)
    return await answer


def login(text: str, user: str, password: str, **client: Any) -> Answer:
    """One login by LDAP options."""

    async def asked() -> Answer:
        with external_auth(ldap_client=LdapClient(**client)) as auth:
            return await ask(auth, LdapOptions.parse(text), user, password)

    return run(asked)


# LDAP -------------------------------------------------------------------------------------------------------


HERE = "ldapserver=127.0.0.1 ldapport={port} "
FORMS = [
    HERE + 'ldapprefix="uid=" ldapsuffix=",{base}"',
    HERE + 'ldapbasedn="{base}"',
    'ldapserver="127.0.0.2 127.0.0.1" ldapport={port} ldapbasedn="{base}"',
    HERE + 'ldapbasedn="{base}" ldapsearchattribute=uid',
    HERE + 'ldapbasedn="{base}" ldapsearchfilter="uid=$username"',
    HERE + '"ldapbasedn"="{base}" ,ldapsearchfilter="(& (uid=$username) (sn=*) )"',
    HERE + 'ldapbasedn="{base}" ldapbinddn="{manager}" ldapbindpasswd={password}',
    'ldapurl="ldap://127.0.0.1:{port}/{base}?uid?sub"',
    'ldapurl="ldap://127.0.0.1:{port}/{base}??sub?(|(uid=$username)(mail=$username))"',
    'ldapurl="ldap://127.0.0.1:{port}/uid=alice,{base}?uid"',
    'ldapurl="ldaps://127.0.0.1:{ldaps}/{base}??one?(uid=$username)"',
    'ldapserver=localhost ldapport={ldaps} ldapscheme=ldaps ldapprefix="uid=" ldapsuffix=",{base}"',
    HERE + 'ldapprefix="uid=" ldapsuffix=",{base}" ldaptls=1',
    HERE + 'ldapbasedn="{base}" ldaptls=1',
]


def filled(form: str, slapd: Slapd) -> str:
    ports = {"port": slapd.port, "ldaps": slapd.ldaps_port}
    return form.format(**ports, base=BASE, manager=MANAGER, password=MANAGER_PASSWORD)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_options_lets_in_who_has_the_password(slapd: Slapd, form: str) -> None:
    text = filled(form, slapd)
    trusting = {"LDAPTLS_CACERT": str(slapd.ca_file)}
    assert login(text, "alice", "wonder", environ=trusting) == (True, "")
    refused = f'LDAP login failed for "uid=alice,{BASE}": invalidCredentials'
    assert login(text, "alice", "Wonder", environ=trusting) == (False, refused)


SIMPLE, SEARCH = FORMS[0], FORMS[1]
NO_ENTRY = 'LDAP user "{}" does not exist: no entry for filter "(uid={})"'


@pytest.mark.parametrize(
    ("form", "user", "password", "reason"),
    [
        (SIMPLE, "smith, john", "sj", ""),
        (SIMPLE, "back\\slash", "bs", ""),
        (SIMPLE, "sta*(r)", "star", ""),
        (SIMPLE, "jörg #1", "jörg's", ""),
        (
            SIMPLE,
            "bob,ou=other",
            "bob's",
            'LDAP login failed for "uid=bob\\2cou\\3dother,{base}": invalidCredentials',
        ),
        (SEARCH, "smith, john", "sj", ""),
        (SEARCH, "back\\slash", "bs", ""),
        (SEARCH, "sta*(r)", "star", ""),
        (SEARCH, "jörg #1", "jörg's", ""),
        (SEARCH, "long", "x" * 60_000, ""),
        (SEARCH, "*", "wonder", NO_ENTRY.format("*", "\\2a")),
        (SEARCH, "a*", "wonder", NO_ENTRY.format("a*", "a\\2a")),
        (SEARCH, "alice)(uid=*", "wonder", NO_ENTRY.format("alice)(uid=*", "alice\\29\\28uid\\3d\\2a")),
        (SEARCH, "nobody", "x", NO_ENTRY.format("nobody", "nobody")),
        (SEARCH, "twin", "1", 'LDAP user "twin" is not unique: filter "(uid=twin)"'),
        (SEARCH, "alice", "", "empty user name or password"),
        (SIMPLE, "alice", "", "empty user name or password"),
        (SIMPLE, "", "x", "empty user name or password"),
        (SIMPLE, "j\udcf6rg", "x", "the user name is not UTF-8"),
        (
            SEARCH + ' ldapbinddn="{manager}" ldapbindpasswd=x',
            "alice",
            "wonder",
            f'could not bind as "{MANAGER}" to search: invalidCredentials',
        ),
        (
            'ldapserver=127.0.0.1 ldapport={port} ldapbasedn="dc=nope"',
            "alice",
            "wonder",
            'could not search LDAP for filter "(uid=alice)": noSuchObject',
        ),
    ],
)
def test_names_are_values_whatever_is_in_them(
    slapd: Slapd, form: str, user: str, password: str, reason: str
) -> None:
    assert login(filled(form, slapd), user, password) == (not reason, reason.replace("{base}", BASE))


@pytest.mark.parametrize(
    ("conf", "host", "reason"),
    [
        ("", "127.0.0.1", "certificate verify failed"),
        ("TLS_CACERT\t{ca}\n", "127.0.0.1", ""),
        ("# TLS_CACERT /none\ntls_cacert {ca}\nTLS_REQCERT demand", "localhost", ""),
        # Another spelling of 127.0.0.1, and not in the certificate.
        ("TLS_CACERT {ca}", "127.1", "certificate is not valid for"),
        ("TLS_REQCERT never", "127.1", ""),
        ("TLS_CACERT {ca}.old", "127.0.0.1", "No such file or directory"),
    ],
)
@pytest.mark.parametrize("form", ["ldapscheme=ldaps ldapport={ldaps}", "ldaptls=1 ldapport={port}"])
def test_ldap_conf_says_whom_to_trust(
    slapd: Slapd, tmp_path: Path, form: str, conf: str, host: str, reason: str
) -> None:
    file = tmp_path / "ldap.conf"
    file.write_text(conf.format(ca=slapd.ca_file))
    text = filled(f'ldapserver={host} ldapbasedn="{{base}}" {form}', slapd)
    confirmed, why = login(text, "alice", "wonder", environ={"LDAPCONF": str(file)})
    assert confirmed == (not reason)
    assert reason in why


def test_a_changed_ca_file_counts_from_the_next_login_on(slapd: Slapd, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    options = LdapOptions.parse(filled(FORMS[10], slapd))

    async def asked() -> list[bool]:
        client = LdapClient(environ={"LDAPTLS_CACERT": str(ca_file)})
        with external_auth(ldap_client=client) as auth:
            Authority().write(tmp_path, "ca")
            before = await ask(auth, options, "alice", "wonder")
            ca_file.write_bytes(slapd.ca_file.read_bytes())
            return [before[0], (await ask(auth, options, "alice", "wonder"))[0]]

    assert run(asked) == [False, True]


@pytest.mark.parametrize(
    "form",
    [
        'ldapurl="ldaps://127.0.0.1:{port}/{base}?uid?sub"',
        'ldapurl="ldaps://127.0.0.1:{ldaps}/{base}?uid?sub" ldaptls=1',
        'ldapserver=127.0.0.1 ldapport={ldaps} ldapbasedn="{base}" ldaptls=1',
        'ldapserver=127.0.0.1 ldapport={ldaps} ldapbasedn="{base}"',
    ],
)
def test_tls_where_there_is_none_and_the_other_way_round_fail(slapd: Slapd, form: str) -> None:
    confirmed, reason = login(filled(form, slapd), "alice", "wonder", environ={"LDAPTLS_REQCERT": "never"})
    assert not confirmed
    assert "127.0.0.1" in reason


def test_a_referral_is_not_followed(slapd: Slapd) -> None:
    elsewhere = f"ou=elsewhere,{BASE}"

    async def asked() -> tuple[Answer, Answer, int]:
        visits: list[object] = []
        server = await asyncio.start_server(lambda *streams: visits.append(streams), "127.0.0.1", 0)
        url = f"ldap://127.0.0.1:{server.sockets[0].getsockname()[1]}/{elsewhere}"
        await asyncio.to_thread(_add_referral, slapd, elsewhere, url)
        above, below = (
            LdapOptions.parse(f'ldapserver=127.0.0.1 ldapport={slapd.port} ldapbasedn="{base}"')
            for base in (BASE, elsewhere)
        )
        with external_auth() as auth:
            return await ask(auth, above, "ghost", "x"), await ask(auth, below, "ghost", "x"), len(visits)

    above, below, visits = run(asked)
    assert above == (False, NO_ENTRY.format("ghost", "ghost"))
    assert below == (False, 'could not search LDAP for filter "(uid=ghost)": referral')
    assert visits == 0


def _add_referral(slapd: Slapd, dn: str, url: str) -> None:
    manager = ldap3.Connection(ldap3.Server("127.0.0.1", slapd.port), MANAGER, MANAGER_PASSWORD)
    assert manager.bind()
    assert manager.add(dn, ["referral", "extensibleObject"], {"ou": "elsewhere", "ref": url})
    manager.unbind()


def test_servers_are_looked_up_in_dns(slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    class NameServer(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            query = dns.message.from_wire(data)
            answer = dns.message.make_response(query)
            name = query.question[0].name
            if name.to_text() == "_ldap._tcp.example.net.":
                srv = [f"9 0 {slapd.port} localhost.", "8 0 1 127.0.0.1.", "7 0 1 ."]
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *srv))
            self.transport.sendto(answer.to_wire(), addr)

    async def asked() -> tuple[list[tuple[str, int]], list[Answer]]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = transport.get_extra_info("sockname")[1]
        monkeypatch.setattr(dns.resolver, "Resolver", lambda: resolver)
        with external_auth() as auth:
            return await asyncio.to_thread(find_ldap_servers, "example.net"), [
                await ask(auth, LdapOptions.parse(f'ldapbasedn="{base}"'), "alice", "wonder")
                for base in (BASE, "dc=example,dc=org")
            ]

    servers, (found, not_found) = run(asked)
    assert servers == [("127.0.0.1", 1), ("localhost", slapd.port)]
    assert found == (True, "")
    assert not_found[1].startswith('found no LDAP servers of "example.org" in DNS: ')


@pytest.mark.parametrize(
    ("talk", "more", "reason"),
    [
        (says_nothing, "", "timed out"),
        (says_nothing, " ldapscheme=ldaps", "timed out"),
        (says_nothing, " ldaptls=1", "timed out"),
        (says_a_byte_now_and_then, "", "timed out"),
        (says_too_much, "", "more than 1048576 bytes received"),
        (talks_nonsense, "", "unreadable answer"),
        (talks_nonsense, " ldapscheme=ldaps", "SSL"),
        (hangs_up, "", "session terminated by server"),
        (answers_another_question, "", "LDAP login failed"),
        (starts_tls_and_lies_on, " ldaptls=1", "invalid messageId received"),
    ],
)
def test_a_bad_server_refuses_one_login_and_blocks_nobody(
    slapd: Slapd, talk: Talk, more: str, reason: str
) -> None:
    async def asked() -> tuple[Answer, Answer]:
        # It lives on the same loop, so it could not even answer if a check blocked that.
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        bad = LdapOptions.parse(
            f'ldapserver=127.0.0.1 ldapport={port} ldapprefix="uid=" ldapsuffix=",dc=x"{more}'
        )
        hasty = LdapClient(login_timeout=0.5 if reason.endswith("timed out") else 20.0)
        with external_auth(ldap_client=hasty) as auth, external_auth() as patient:
            refused = ask(auth, bad, "alice", "wonder")
            good = ask(patient, LdapOptions.parse(filled(SIMPLE, slapd)), "alice", "wonder")
            return await asyncio.gather(refused, good)

    refused, good = run(asked)
    assert not refused[0]
    assert reason in refused[1]
    assert "wonder" not in refused[1]
    assert good == (True, "")


# Threads and their queue ------------------------------------------------------------------------------------


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
from pooler.auth.ldap import LdapOptions

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


# PAM --------------------------------------------------------------------------------------------------------


USERS = {"alice": "wonder", "jörg": "jörg's", "old": "x", ADMIN: ADMIN_PASSWORD}


@pytest.mark.usefixtures("pam_tools")
def test_pam_checks_password_and_account() -> None:
    with PamService(USERS, expired=["old"]) as service:
        answers, delays = service.logins(
            [
                ("alice", "wonder", "192.0.2.1"),
                ("alice", "Wonder", "192.0.2.1"),
                ("jörg", "jörg's", "2001:db8::1"),
                ("nobody", "x", "unix"),
                ("old", "x", "unix"),
                ("alice", "", "unix"),
                ("alice\0", "wonder", "unix"),
            ],
        )
        calls = service.calls()
    malformed = "empty user name or password, or a zero byte in it"
    assert [confirmed for confirmed, _ in answers] == [True, False, True, False, False, False, False]
    assert answers[0] == (True, "")
    assert re.fullmatch(r"pam_authenticate\(\) failed: .+; .+/check failed: exit code 1", answers[1][1])
    assert re.fullmatch(r"pam_acct_mgmt\(\) failed: .+; .+/check failed: exit code 1", answers[4][1])
    assert [reason for _, reason in answers[5:]] == [malformed, malformed]
    assert not any("onder" in reason for _, reason in answers)
    assert calls == [
        ("auth", "pgbouncer", "alice", "192.0.2.1", "wonder"),
        ("account", "pgbouncer", "alice", "192.0.2.1", ""),
        ("auth", "pgbouncer", "alice", "192.0.2.1", "Wonder"),
        ("auth", "pgbouncer", "jörg", "2001:db8::1", "jörg's"),
        ("account", "pgbouncer", "jörg", "2001:db8::1", ""),
        ("auth", "pgbouncer", "nobody", "unix", "x"),
        ("auth", "pgbouncer", "old", "unix", "x"),
        ("account", "pgbouncer", "old", "unix", ""),
    ]
    assert delays == []


@pytest.mark.usefixtures("pam_tools")
def test_the_delay_after_a_failure_is_not_slept_in_the_worker() -> None:
    # Minutes: the test would not live to see the end of it. libpam varies it by half.
    rules = ["auth optional pam_faildelay.so delay=300000000"]
    with PamService(USERS, auth_rules=rules) as service:
        answers, delays = service.logins([("alice", "x", "unix"), ("alice", "wonder", "unix")])
    assert [confirmed for confirmed, _ in answers] == [False, True]
    assert len(delays) == 1
    assert delays[0] > 100


@pytest.mark.usefixtures("pam_tools")
def test_modules_are_told_what_pgbouncer_tells_them(
    pgbouncer: PgBouncerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = [("alice", "wonder"), ("alice", "x"), ("jörg", "jörg's"), ("old", "x"), ("nobody", "x")]
    with PamService(USERS, expired=["old"]) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        real = pgbouncer(settings={"auth_type": "pam"})
        start = len(service.calls())
        theirs = [_login_by_pgbouncer(real, *login) for login in logins]
        middle = len(service.calls())
        answers, _ = service.logins([(*login, "127.0.0.1") for login in logins])
        calls = service.calls()
    assert theirs == [None if confirmed else "PAM authentication failed" for confirmed, _ in answers]
    assert calls[start:middle] == calls[middle:]


def _login_by_pgbouncer(pgbouncer: Any, user: str, password: str) -> str | None:
    """What the login is refused with; None if it is not."""
    try:
        # The server behind it does not know them, and that comes after the login.
        pgbouncer.connect("postgres", user=user, password=password).close()
    except psycopg.OperationalError as error:
        text = str(error).strip()
        return None if "does not exist" in text else text.rpartition("FATAL:  ")[2]
    return None


# What is missing --------------------------------------------------------------------------------------------


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
