"""One step of one client: what it says, what it then has to hear, and what may go wrong on the way."""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from tests.chaos.client import Connection, ConnectionLost
from tests.chaos.weather import CancelRequest, Weather
from tests.chaos.wire import SYNC, Reply, abridged, complete, query, ready
from tests.support.rawclient import error_fields

TRANSACTION, SESSION, STATEMENT = "transaction", "session", "statement"

QUERY_CANCELED: Final = "57014"
_QUEUED_NOTICE = "No server connection available in postgres backend, client being queued"
_TOKEN = re.compile(rb"tk_(\d+)_(\d+)_\d+_[0-9a-f]{8}_kt")
_ENDS_WITH_READY = b"QSF"
_SLOW_REPLIES = 150
"""So many replies of a step a slow reader is slow with."""


class Failure(Exception):
    """The pooler has done what nothing explains."""


class ForeignToken(Failure):
    """A client was shown what is not its own."""


class Over(Exception):
    """The session has ended, and something that was done explains it; the text says what."""


class Canceled(Exception):
    """A cancel request has hit the query that it was for."""


@dataclass
class Drop:
    """How and where in its step a client leaves: after so many bytes, or after so many replies."""

    how: str
    after_bytes: int | None = None
    after_replies: int | None = None


@dataclass
class Session:
    """A client's connection and what it knows about it."""

    connection: Connection
    mode: str
    client: int
    settings: dict[str, str]
    """Its tracked parameters: they have to follow it from server to server."""
    defaults: dict[str, str]
    """The same as a server has them that nobody has changed."""
    statements: dict[str, str] = field(default_factory=dict)
    """Its prepared statements: name and what the SQL adds to the parameter."""
    cancels: list[CancelRequest] = field(default_factory=list)
    port: int = 0
    slow_until: float = 0.0
    """What it asks for now takes its time, to this moment if it did not have to wait; 0 if not."""
    last_step: float = 0.0
    """When its last step began, by the monotonic clock; 0 before the first."""


@dataclass
class Batch:
    """Messages to send in one go, and the replies that are due for them, errors included."""

    messages: list[bytes] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    failed: bool = False
    """An error has come: the server ignores everything up to the next Sync."""

    def add(self, message: bytes, *replies: Reply) -> None:
        """A message and its replies; none while the server ignores what it gets."""
        self.messages.append(message)
        if not self.failed:
            self.replies.extend(replies)

    def fail(self, message: bytes, error: Reply) -> None:
        """A message that is answered by an error."""
        self.add(message, error)
        self.failed = True

    def sync(self, status: str = "I") -> None:
        self.messages.append(SYNC)
        self.replies.append(ready(status))
        self.failed = False


class Scene:
    """One step. `rng` decides everything in it, and depends on nothing but seed, client and step."""

    def __init__(
        self, session: Session, seed: int, step: int, weather: Weather, deadline: float, disturbed: bool
    ) -> None:
        self.session = session
        self.mode = session.mode
        self.rng = random.Random(f"{seed}/{session.client}/{step}")
        self.step = step
        self.tokens = 0
        self.recoverable = True
        """Whether it is known, whatever fails, how many ReadyForQuery are due."""
        self._seed = seed
        self._weather = weather
        self._deadline = deadline
        self._started = self._said = time.monotonic()
        # While it read the last replies of the step before, slowly perhaps, the next message may have come.
        self._listening_since = session.last_step or self._started
        session.last_step = self._started
        self._silence = 0.0
        """The longest time, in seconds, that this step has said nothing."""
        self._owed = 0
        self._sent = self._heard = 0
        self._pace = 0.0
        self.drop = self._plan_drop() if disturbed else None
        if disturbed and self.rng.random() < 0.01:
            self.count("steps of slow readers")
            self._pace = self.rng.uniform(0.001, 0.02)

    def _plan_drop(self) -> Drop | None:
        rng = self.rng
        if rng.random() > 0.03:
            return None
        if rng.random() < 0.5:
            return Drop(
                rng.choice(("reset", "close", "half close")), after_bytes=int(rng.expovariate(1 / 200))
            )
        how = rng.choice(("reset", "close", "half close", "terminate"))
        return Drop(how, after_replies=int(rng.expovariate(1 / 4)))

    def token(self) -> str:
        """A text that nobody else asks for."""
        self.tokens += 1
        client = self.session.client
        secret = hashlib.blake2b(f"{self._seed}/{client}/{self.step}/{self.tokens}".encode(), digest_size=4)
        return f"tk_{client}_{self.step}_{self.tokens}_{secret.hexdigest()}_kt"

    def count(self, what: str) -> None:
        """One more of these, for the summary."""
        self._weather.count(what)

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """What is asked meanwhile takes so long once it runs, so it is a target for cancel requests."""
        self.session.slow_until = time.monotonic() + seconds
        try:
            yield
        finally:
            self.session.slow_until = 0.0

    # Conversation ------------------------------------------------------------------------------------------

    async def ask(self, batch: Batch) -> None:
        """Send all of it, then hear all of it."""
        await self.say(*batch.messages)
        await self.hear(*batch.replies)

    async def ask_simple(self, sql: str, *replies: Reply, status: str = "I") -> None:
        """A simple query, the replies that it brings, and ReadyForQuery."""
        await self.say(query(sql))
        await self.hear(*replies, ready(status))

    async def say(self, *messages: bytes) -> None:
        """Send messages, cut anywhere. Raises Over where the plan is to leave here."""
        connection = self.session.connection
        connection.note_sent(*messages)
        self._owed += sum(message[0] in _ENDS_WITH_READY for message in messages)
        data = b"".join(messages)
        drop = self.drop
        if drop is not None and drop.after_bytes is not None and self._sent + len(data) >= drop.after_bytes:
            connection.write(data[: drop.after_bytes - self._sent])
            await self.leave(drop.how, whole=self._sent + len(data) == drop.after_bytes)
        self._sent += len(data)
        self._silence = self._longest_silence()
        self._said = time.monotonic()
        for start, end in pairwise((0, *self._cuts(len(data)), len(data))):
            connection.write(data[start:end])
            if end < len(data):
                await asyncio.sleep(self.rng.choice((0, 0, 0.0005, 0.003)))
        if drop is not None and drop.after_replies == 0:
            await self.leave(drop.how)

    def _cuts(self, size: int) -> list[int]:
        luck = self.rng.random()
        if luck < 0.7 or size < 2:
            return []
        if luck > 0.98 and size < 400:
            return list(range(1, size))
        return sorted(self.rng.randrange(1, size) for _ in range(self.rng.randint(1, 4)))

    async def hear(self, *replies: Reply) -> None:
        """Exactly these replies, in this order.

        Raises Failure if anything else comes; Over or Canceled if that is explained by what was done.
        """
        for reply in replies:
            while True:
                kind, body = await self._receive()
                fault = reply.fault(kind, body)
                if not fault:
                    break
                if not self._may_be_overheard(kind, body):
                    await self._explain(kind, body, fault)
            if self.drop is not None and self.drop.after_replies == self._heard:
                await self.leave(self.drop.how)

    async def nap(self, longest: float = 0.05) -> None:
        """Do nothing for a while, in seconds."""
        await asyncio.sleep(self.rng.uniform(0, longest))

    async def idle_transaction_ends(self) -> None:
        """Wait for the pooler to end a transaction that does nothing. Raises Over."""
        while True:
            kind, body = await self._receive()
            if not self._may_be_overheard(kind, body):
                await self._explain(kind, body, "expected an idle transaction timeout")

    async def recover(self) -> None:
        """After a cancel: find the end of what is due, whatever it is, and start from a clean state.

        Raises Failure if more or less ReadyForQuery come than are due.
        """
        await self.say(SYNC)
        status = ""
        while self._owed > 0:
            kind, body = await self._receive()
            if kind == "Z":
                status = body.decode()
            elif kind == "E" and error_fields(body).get("S") == "FATAL":
                await self._explain(kind, body, "expected the end of a canceled request")
        if status != "I":
            await self.ask_simple("ROLLBACK", complete("ROLLBACK"))
        await self.ask_simple("DEALLOCATE ALL", complete("DEALLOCATE ALL"))
        self.session.statements.clear()

    async def expect_end(self) -> None:
        """Hear that the other side closes, after any number of further FATAL errors."""
        connection = self.session.connection
        try:
            async with asyncio.timeout(self._deadline):
                while True:
                    kind, body = await connection.receive()
                    self._check_tokens(body)
                    if kind != "E" or error_fields(body).get("S") != "FATAL":
                        raise Failure(f"{kind} {abridged(body)} after a FATAL error")
        except ConnectionLost:
            return
        except TimeoutError:
            raise Failure(f"not closed within {self._deadline} s after a FATAL error") from None

    # What may go wrong -------------------------------------------------------------------------------------

    async def _receive(self) -> tuple[str, bytes]:
        if self._pace and self._heard < _SLOW_REPLIES:
            await asyncio.sleep(self._pace)
        try:
            kind, body = await self.session.connection.receive(self._deadline)
        except TimeoutError:
            raise Failure(f"no answer within {self._deadline} s") from None
        except ConnectionLost as error:
            if self._weather.loss_explained(self._listening_since, self.session.port):
                raise Over("connection lost") from None
            raise Failure(f"connection lost: {error}") from None
        self._heard += 1
        self._check_tokens(body)
        if kind == "Z":
            self._owed -= 1
            if self._owed < 0:
                raise Failure("ReadyForQuery for nothing")
        return kind, body

    def _check_tokens(self, body: bytes) -> None:
        for found in _TOKEN.finditer(body):
            client, step = int(found[1]), int(found[2])
            if client != self.session.client:
                raise ForeignToken(f"a token of client {client}: {found[0].decode()}")
            if step != self.step:
                raise Failure(f"a token of step {step}: {found[0].decode()}")

    def _may_be_overheard(self, kind: str, body: bytes) -> bool:
        """A notice of the pooler's, or the warning with which PostgreSQL leaves after a crash."""
        if kind != "N":
            return False
        fields = error_fields(body)
        return fields.get("M") == _QUEUED_NOTICE or self._is_explained(fields)

    async def _explain(self, kind: str, body: bytes, fault: str) -> None:
        """Raises Over or Canceled if what came in place of a reply is explained, else Failure."""
        if kind == "E":
            fields = error_fields(body)
            if fields.get("C") == QUERY_CANCELED and self._cancel_has_hit():
                if fields.get("S") != "FATAL":
                    raise Canceled
                await self.expect_end()
                raise Over("canceled in line")
            if fields.get("S") == "FATAL" and self._is_explained(fields):
                await self.expect_end()
                raise Over(fields.get("M", ""))
        raise Failure(f"{kind} {abridged(body)}: {fault}")

    def _is_explained(self, fields: dict[str, str]) -> bool:
        since = self._listening_since
        return self._weather.explains(fields, since, self._longest_silence(), self.session.port)

    def _longest_silence(self) -> float:
        return max(self._silence, time.monotonic() - self._said)

    def _cancel_has_hit(self) -> bool:
        """Whether there is a request that may have done it.

        PostgreSQL sends its signal twice, to the process and to its group, before it closes the request's
        connection: on a busy machine one request can hit two queries, but none that began after that.
        """
        for cancel in self.session.cancels:
            if not cancel.hit and cancel.may_hit_since(self._started):
                cancel.hit = True
                self.count(f"{cancel.aim}: hit")
                return True
        if any(cancel.may_hit_since(self._said) for cancel in self.session.cancels):
            self.count("cancels that hit twice")
            return True
        return False

    async def leave(self, how: str, whole: bool = True) -> None:
        """Leave, `whole` if no message is half sent. Raises Over."""
        connection = self.session.connection
        connection.note(f"leaves by {how}")
        if self._owed:
            self.count("left with a query under way" if whole else "left in the middle of what it sent")
        if how == "reset":
            connection.reset()
        elif how == "terminate":
            connection.terminate()
        elif how == "close":
            connection.close()
        else:
            try:
                async with asyncio.timeout(self._deadline):
                    await connection.half_close()
            except TimeoutError:
                raise Failure(f"not closed within {self._deadline} s after a half close") from None
        raise Over(f"left by {how}")
