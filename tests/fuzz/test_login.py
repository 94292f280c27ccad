"""Nobody gets in without the right password, whatever is sent, and whoever is refused is told so.

Random conversations are the same in every run; `python -m tests.fuzz` looks for others.
"""

from __future__ import annotations

import base64
import random
import re
import struct

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from tests.fuzz.driver import (
    ENCRYPTION_REQUESTS,
    WRONG,
    answers,
    check,
    parameters,
    run,
    startup_packet,
)
from tests.fuzz.pooler import CONSOLE, DATABASE, METHODS, PASSWORDS, Client, Pooler, can_log_in
from tests.fuzz.scripts import Choices, script_of
from tests.support.rawclient import message
from tests.unit.auth.peers import LibpqClient, initial_response, keys, proof

CAN_LOG_IN = [(method, user) for method in METHODS for user in PASSWORDS if can_log_in(user, method)]
CANNOT_LOG_IN = [(method, user) for method in METHODS for user in ("nobody", "empty")] + [
    ("scram-sha-256", "hashed")
]

each_login = pytest.mark.parametrize(("method", "user"), CAN_LOG_IN)
briefly = settings(deadline=None, derandomize=True, database=None, max_examples=500)
choices = st.binary(min_size=8, max_size=80)


def converse(client: Client, user: str, password: str, cuts: tuple[int, ...] = ()) -> None:
    """Logs in as a driver does."""
    client.send(startup_packet(parameters(user)), cuts)
    answered = 0
    while len(due := answers(client.received(), user, password)) > answered:
        client.send(due[answered], cuts)
        answered += 1


# Every byte -----------------------------------------------------------------------------------------------


@each_login
def test_the_right_password_gets_in_however_it_is_cut(method: str, user: str) -> None:
    pooler = Pooler(method)
    for first in range(1, 160):
        client = pooler.connect()
        converse(client, user, PASSWORDS[user], (first, 1000))
        assert client.logged_in, (first, client.refused)
        client.hang_up()
        check(client)
    client = pooler.connect()
    converse(client, user, PASSWORDS[user], (1,))
    assert client.logged_in


@pytest.mark.parametrize(("method", "user"), [*CAN_LOG_IN, *CANNOT_LOG_IN])
def test_the_wrong_password_does_not(method: str, user: str) -> None:
    pooler = Pooler(method)
    for password in (WRONG, "x", "", PASSWORDS.get(user, "")[:-1], PASSWORDS.get(user, "") + "x"):
        client = pooler.connect()
        converse(client, user, password)
        assert not client.logged_in
        assert client.refused
        client.hang_up()
        check(client)


@each_login
def test_no_byte_of_an_answer_can_be_changed(method: str, user: str) -> None:
    pooler = Pooler(method)
    place, changed = 0, True
    while changed:
        changed = False
        for bits in (b"\x01", b"\x20", b"\x80", b"\xff"):
            client = pooler.connect()
            client.send(startup_packet(parameters(user)))
            ahead = 0
            while not client.transport.closed and not client.logged_in:
                answer = answers(client.received(), user, PASSWORDS[user])[-1]
                here = place - ahead
                if 0 <= here < len(answer):
                    changed = True
                    answer = answer[:here] + bytes((answer[here] ^ bits[0],)) + answer[here + 1 :]
                ahead += len(answer)
                before = len(client.received())
                client.send(answer)
                if len(client.received()) == before:
                    break  # It waits for more, as the length was changed.
            client.hang_up()
            check(client)
        place += 1
    assert place > 10


# At random ------------------------------------------------------------------------------------------------


def attempt(method: str, data: bytes) -> Client:
    """One conversation, made out of bytes. Raises AssertionError if the pooler breaks a promise."""
    script, cuts = script_of(Choices(data))
    client = Pooler(method).connect()
    run(client, script, cuts)
    return client


@pytest.mark.parametrize("method", [*METHODS, "trust"])
@briefly
@given(choices)
def test_any_conversation(method: str, data: bytes) -> None:
    note(str(script_of(Choices(data)))[:2000])
    attempt(method, data)


@briefly
@given(st.text("-c =\\a.'\t"))
def test_options_set_parameters_or_are_refused(text: str) -> None:
    client = Pooler("trust", ignore_startup_parameters="a").connect()
    client.send(startup_packet(parameters("plain", options=text)))
    assert client.logged_in != bool(client.refused)
    client.hang_up()
    check(client)


def test_conversations_get_everywhere() -> None:
    """Or else they would prove nothing."""
    source = random.Random(4)
    ends: set[str] = set()
    for _ in range(2000):
        client = attempt("scram-sha-256", source.randbytes(60))
        ends.add("in" if client.logged_in else client.refused or "silence")
    expected = (
        "in",
        "silence",
        "SASL authentication failed",
        "bad packet",
        "client re-sent startup pkt",
        "no such database: nowhere",
        "not allowed",
        "username too long",
        "no username supplied",
        "old V2 protocol not supported",
        "invalid startup packet layout: expected terminator as last byte",
        "received unencrypted data after",
        "client sent a second",
        "client selected an invalid SASL authentication mechanism",
        "client password pkt before startup packet",
    )
    assert [text for text in expected if not any(end.startswith(text) for end in ends)] == []


# One thing at a time --------------------------------------------------------------------------------------


@each_login
@pytest.mark.parametrize("other", [*PASSWORDS, "nobody"])
def test_nobody_becomes_somebody_else_on_the_way(method: str, user: str, other: str) -> None:
    """CVE-2026-107350: a second StartupMessage, after any number of answers."""
    pooler = Pooler(method)
    for steps in range(3):
        client = pooler.connect()
        client.send(startup_packet(parameters(user)))
        for step in range(steps):
            due = answers(client.received(), user, PASSWORDS[user])
            if step < len(due):
                client.send(due[step])
        was_in = client.logged_in
        client.send(startup_packet(parameters(other)))
        for name in (user, other):
            client.send(answers(client.received(), name, PASSWORDS.get(name, WRONG))[-1])
        assert client.logged_in == was_in
        assert client.refused == ("unknown pkt" if was_in else "client re-sent startup pkt")
        client.hang_up()
        check(client)


@pytest.mark.parametrize("length", [0, 3, 4, 7, 65_536, 2**31 - 1, 2**31, 2**31 + 8, 2**32 - 1])
def test_a_startup_packet_of_such_a_length_is_refused_at_once(length: int) -> None:
    client = Pooler("md5").connect()
    client.send(struct.pack("!II", length, 3 << 16), (1,))
    assert str(client.refused).startswith("bad packet header")
    client.hang_up()
    check(client)


@each_login
@pytest.mark.parametrize("length", [0, 3, 70_001, 2**31 - 1, 2**31, 2**32 - 1])
def test_an_answer_of_such_a_length_is_refused_at_once(method: str, user: str, length: int) -> None:
    client = Pooler(method).connect()
    client.send(startup_packet(parameters(user)))
    client.send(b"p" + struct.pack("!I", length), (1,))
    assert str(client.refused).startswith("bad packet header")
    client.hang_up()
    check(client)


@pytest.mark.parametrize("length", [0, 31, 33, 2**31 - 1, 2**31, 2**32 - 33, 2**32 - 1])
def test_a_sasl_response_of_such_a_length_is_refused(length: int) -> None:
    client = Pooler("scram-sha-256").connect()
    client.send(startup_packet(parameters("scram")))
    right = initial_response(b"n,,n=,r=abcdefghijklmnopqrstuvwx")
    client.send(message("p", right.replace(struct.pack("!I", 32), struct.pack("!I", length))))
    assert client.refused == "SASL authentication failed"
    client.hang_up()
    check(client)


@pytest.mark.parametrize(
    ("binding", "nonce", "is_right"),
    [
        (b"biws", b"%b", True),
        (b"biws", b"%b=", False),
        (b"biws", b"x%b", False),
        (b"biws", b"", False),
        (b"eSws", b"%b", False),
        (b"biw", b"%b", False),
        (b"", b"%b", False),
        (b"cD10bHMtc2VydmVyLWVuZC1wb2ludCws", b"%b", False),
    ],
)
@pytest.mark.parametrize("user", ["plain", "scram"])
def test_a_right_proof_of_something_else_is_refused(
    user: str, binding: bytes, nonce: bytes, is_right: bool
) -> None:
    client = Pooler("scram-sha-256").connect()
    client.send(startup_packet(parameters(user)))
    scram = LibpqClient(PASSWORDS[user].encode())
    client.send(message("p", initial_response(scram.first())))
    challenge = client.received()[-1][1][4:]
    given, salt, iterations = (field.partition(b"=")[2] for field in challenge.split(b","))
    client_key, _ = keys(scram.password, base64.b64decode(salt), int(iterations))
    bare = b"c=" + binding + b",r=" + nonce.replace(b"%b", given)
    signed = b",".join((scram.first_bare(), challenge, bare))
    client.send(message("p", bare + b",p=" + proof(client_key, signed)))
    assert client.logged_in == is_right
    assert client.refused == (None if is_right else "SASL authentication failed")


@pytest.mark.parametrize("method", [*METHODS, "trust"])
@pytest.mark.parametrize("length", [127, 128, 255, 256, 65_000])
def test_over_long_names_are_refused(method: str, length: int) -> None:
    for names in (("u" * length, DATABASE), ("plain", "d" * length), ("u" * length, CONSOLE)):
        client = Pooler(method).connect()
        client.send(startup_packet(parameters(*names)))
        is_told = client.refused
        for answer in answers(client.received(), "plain", PASSWORDS["plain"]):
            client.send(answer)
        assert not client.logged_in
        assert (is_told == "username too long") == (length > 127 and names[0] != "plain")
        client.hang_up()
        check(client)


@pytest.mark.parametrize("request_", ENCRYPTION_REQUESTS, ids=["ssl", "gss"])
def test_nothing_behind_an_encryption_request_is_believed(request_: bytes) -> None:
    """CVE-2021-3935: somebody on the way may have put it there."""
    for size in (1, 8, 1000):
        client = Pooler("trust").connect()
        client.send(request_ + startup_packet(parameters("plain"))[:size])
        assert str(client.refused).startswith("received unencrypted data after")
        client.hang_up()
        check(client)


# Memory ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [b"", b"\0\0\xff\xff", b"\0\0\xff\xff\0\3\0\0", b"p", b"\x16\3\1"])
def test_what_is_no_startup_packet_is_not_kept(begin: bytes) -> None:
    client = Pooler("md5").connect()
    client.send(begin)
    for _ in range(100):
        client.send(b"x" * 65_536)
    client.hang_up()
    check(client)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("behind", [b"p\0\1\x11\x70", b"p\0\0\0\5", b"p\0\0\0\4"])
def test_an_answer_that_goes_on_for_ever_is_refused(method: str, behind: bytes) -> None:
    client = Pooler(method).connect()
    client.send(startup_packet(parameters("plain")))
    for _ in range(100):
        client.send(behind + b"x" * 65_536)
    assert client.refused
    client.hang_up()
    check(client)


@pytest.mark.parametrize("waits_for", ["auth_query", "welcome"])
def test_a_client_that_waits_is_not_read_any_further(waits_for: str) -> None:
    pooler = Pooler("plain", auth_user="plain", pool_mode="transaction")
    user = "nobody" if waits_for == "auth_query" else "plain"
    if waits_for == "welcome":
        next(pool for pool in pooler.registry.pools.values() if pool.credentials.name == user).welcome = None
    client = pooler.connect()
    converse(client, user, PASSWORDS.get(user, ""))
    for _ in range(100):
        client.send(b"p\0\0\0\5x" * 10_000)
    assert not client.transport.reading
    assert not client.transport.closed
    assert not client.logged_in
    client.hang_up()
    check(client)


# What is told ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "user"), [login for login in (*CAN_LOG_IN, *CANNOT_LOG_IN) if login != ("md5", "scram")]
)
@pytest.mark.parametrize(
    "encryption", [(), ENCRYPTION_REQUESTS], ids=["at once", "after encryption requests"]
)
def test_who_does_not_exist_is_told_the_same_as_who_has_a_wrong_password(
    method: str, user: str, encryption: tuple[bytes, ...]
) -> None:
    told = []
    for name in (user, "unheard-of"):
        client = Pooler(method).connect()
        for request in encryption:
            client.send(request)
        converse(client, name, WRONG)
        assert client.refused
        told.append([(kind, _without_chance(kind, body)) for kind, body in client.received()])
        assert b"unheard-of" not in client.transport.written
    assert told[0] == told[1]


def _without_chance(kind: bytes, body: bytes) -> bytes:
    """Random bytes as so many zeros."""
    if kind != b"R":
        return body
    if body[:4] == b"\0\0\0\5":
        return body[:4] + b"0" * len(body[4:])
    return re.sub(rb"(?<=[rs]=)[^,]+", lambda match: b"0" * len(match[0]), body)
