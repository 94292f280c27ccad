"""What clients of a login send: as they should, and as they should not."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Protocol

from pooler.auth.secrets import md5_response
from tests.fuzz.pooler import CONSOLE, DATABASE, PASSWORDS, Client, Message, can_log_in
from tests.support.rawclient import GSSENC_REQUEST, PROTOCOL_3, SSL_REQUEST, message
from tests.unit.auth.peers import LibpqClient, initial_response

ENCRYPTION_REQUESTS = (SSL_REQUEST, GSSENC_REQUEST)
CLEARTEXT, MD5, SASL, SASL_CONTINUE = 3, 5, 10, 11
WRONG = "wrong-password"


def startup_packet(parameters: bytes, version: int = PROTOCOL_3) -> bytes:
    """A StartupMessage of these parameters, however wrong."""
    return struct.pack("!II", len(parameters) + 8, version) + parameters


def parameters(user: str, database: str = DATABASE, /, **more: str) -> bytes:
    """Names and values as they should be; a name that comes twice counts with its last value."""
    pairs = [("user", user), ("database", database), *more.items()]
    return "".join(f"{name}\0{value}\0" for name, value in pairs).encode() + b"\0"


def answers(received: list[Message], user: str, password: str) -> list[bytes]:
    """What a driver with this password answers to each request for authentication."""
    scram = LibpqClient(password.encode())
    found: list[bytes] = []
    for kind, body in received:
        code, payload = int.from_bytes(body[:4], "big"), body[4:]
        if kind != b"R" or code == 0:
            continue
        if code == CLEARTEXT:
            answer = password.encode() + b"\0"
        elif code == MD5:
            answer = md5_response(password, user, payload).encode() + b"\0"
        elif code == SASL:
            answer = initial_response(scram.first())
        elif code == SASL_CONTINUE:
            answer = scram.final(payload)
        else:
            continue
        found.append(message("p", answer))
    return found


class Op(Protocol):
    """A part of what a client sends."""

    def build(self, client: Client, sent: list[bytes]) -> bytes:
        """Its bytes, at the time when they are sent; `sent` are the parts before it."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes."""

    data: bytes

    def build(self, client: Client, sent: list[bytes]) -> bytes:
        return self.data


@dataclass(frozen=True, slots=True)
class Answer:
    """To the last request, as a driver does; ahead of any, the password itself. None: not the right one."""

    user: str
    password: str | None

    def build(self, client: Client, sent: list[bytes]) -> bytes:
        password = WRONG if self.password is None else self.password
        found = answers(client.received(), self.user, password)
        return found[-1] if found else message("p", password.encode() + b"\0")


@dataclass(frozen=True, slots=True)
class Again:
    """A part that was sent before, counted from the last."""

    back: int

    def build(self, client: Client, sent: list[bytes]) -> bytes:
        return sent[-1 - self.back % len(sent)] if sent else b""


@dataclass(frozen=True, slots=True)
class Together:
    """Two parts in one piece: what answers the first comes too late for the second."""

    first: Op
    second: Op

    def build(self, client: Client, sent: list[bytes]) -> bytes:
        return self.first.build(client, sent) + self.second.build(client, sent)


@dataclass(frozen=True, slots=True)
class Changed:
    """Another part with a few bytes changed, `cut` bytes left out from a place, and others put there."""

    op: Op
    place: int
    xor: bytes
    cut: int
    inserted: bytes

    def build(self, client: Client, sent: list[bytes]) -> bytes:
        data = bytearray(self.op.build(client, sent))
        place = self.place % (len(data) + 1)
        for position, bits in enumerate(self.xor, place):
            if position < len(data):
                data[position] ^= bits
        data[place : place + self.cut] = self.inserted
        return bytes(data)


def run(client: Client, ops: list[Op], cuts: tuple[int, ...]) -> None:
    """Sends the parts one after another, in pieces of these sizes, and hangs up."""
    sent: list[bytes] = []
    for op in ops:
        data = op.build(client, sent)
        client.send(data, cuts)
        sent.append(data)
    client.hang_up()
    check(client)


def check(client: Client) -> None:
    """Whoever is logged in has shown the right password; no password is in the log, and nothing is left."""
    if client.logged_in:
        _check_rightful(client)
    log = "\n".join(client.pooler.log.lines)
    for password in (*PASSWORDS.values(), WRONG):
        assert password not in log
    client.pooler.log.lines.clear()
    client.pooler.assert_nothing_left()


def _check_rightful(client: Client) -> None:
    stream = bytes(client.sent)
    requests: list[bytes] = []
    while stream[:8] in ENCRYPTION_REQUESTS:
        requests.append(stream[:8])
        stream = stream[8:]
        assert len(client.sent) - len(stream) in client.pauses, "data behind an encryption request"
    assert len(set(requests)) == len(requests)
    length = int.from_bytes(stream[:4], "big")
    user, database = names(stream[8:length])
    assert database in (DATABASE, CONSOLE), database
    method = client.pooler.method
    if method == "trust":
        return
    assert can_log_in(user, method), user
    expected = answers(client.received(), user, PASSWORDS[user])
    assert expected, "nothing was asked"
    stream = stream[length:]
    for answer in expected:
        given, stream = stream[: len(answer)], stream[len(answer) :]
        assert _meaning(given) == _meaning(answer)


def names(body: bytes) -> tuple[str, str]:
    """User and database of a StartupMessage, of whose names the last counts."""
    texts = body.split(b"\0")
    pairs = dict(zip(texts[0::2], texts[1::2], strict=False))
    user = pairs.get(b"user", b"").decode("utf-8", "replace")
    return user, pairs.get(b"database", b"").decode("utf-8", "replace") or user


def _meaning(answer: bytes) -> bytes:
    """Base64 has spare bits at the end of a proof, which are nobody's."""
    head, separator, proof = answer.rpartition(b",p=")
    try:
        return head + separator + (base64.b64decode(proof) if separator else proof)
    except binascii.Error:
        return answer
