"""Plays a scenario on a target, and notes what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.bouncer import ADMIN, USER
from tests.wire.matching import Known, matches, spelled, transcribed
from tests.wire.network import Deadline, Ended, Network, Peer, Silence
from tests.wire.script import (
    ADMIN_CLIENT,
    Action,
    Cancel,
    Command,
    Configure,
    Connect,
    Expect,
    Leave,
    LetIn,
    Message,
    Open,
    PoolerEnds,
    Pools,
    Scenario,
    Send,
    Settle,
    Sql,
    Token,
)
from tests.wire.speaker import Fault, Speaker
from tests.wire.targets import Target
from tests.wire.vocabulary import (
    CANCEL_REQUEST,
    CLIENT_MESSAGES,
    READY_FOR_QUERY,
    SERVER_MESSAGES,
    STARTUP,
    WELCOME,
    cancel_request,
)

AT_THE_END = 1_000_000
"""In place of a line number, for what every scenario ends with."""

_AT_REST = (
    "cl_active",
    "cl_waiting",
    "cl_active_cancel_req",
    "cl_waiting_cancel_req",
    "sv_active",
    "sv_active_cancel",
    "sv_being_canceled",
    "sv_tested",
    "sv_login",
)
_MOMENT = 0.01


@dataclass
class Record:
    """What came back, by the line of the script; and what was not as the script says, if anything."""

    said: dict[int, list[str]] = field(default_factory=dict)
    fault: str = ""

    def note(self, line: int, text: str) -> None:
        self.said.setdefault(line, []).append(text)

    def hide(self, name: str) -> None:
        """Puts `$db` in place of a name that differs between the targets."""
        for texts in self.said.values():
            texts[:] = [text.replace(name, "$db") for text in texts]

    def __str__(self) -> str:
        lines = [f"{_place(line)}: {text}" for line, texts in sorted(self.said.items()) for text in texts]
        return "\n".join([*lines, self.fault] if self.fault else lines)


def first_difference(one: Record, other: Record) -> tuple[str, str, str] | None:
    """Where two records differ, and what each of them has there; lines that one has not been to do not
    count.
    """
    for line in sorted(one.said.keys() & other.said.keys()):
        if one.said[line] != other.said[line]:
            return _place(line), "; ".join(one.said[line]), "; ".join(other.said[line])
    return None


class Play:
    """One scenario on one target. `seconds` is how long anything may take to happen."""

    def __init__(self, scenario: Scenario, target: Target, database_port: int, seconds: float) -> None:
        self._scenario = scenario
        self._target = target
        self._database_port = database_port
        self._seconds = seconds
        self._network = Network()
        self._speakers: dict[str, Speaker] = {}
        self._beside: dict[str, Speaker] = {}
        self._known = Known(db=target.database)
        self._record = Record()
        self._line = 0

    def run(self) -> Record:
        """Plays it to its end, or to the first thing that is not as the script says."""
        with self._network:
            try:
                for step in self._scenario.steps:
                    if self._target.name in step.targets:
                        self._line = step.line
                        self._do(step.action)
                self._line = AT_THE_END
                self._finish()
            except (Fault, Silence, Ended, OSError, ValueError) as error:
                self._record.fault = f"{_place(self._line)}: {error}"
            self._clean_up()
        if self._target.bouncer is not None:
            self._record.hide(self._target.database)
        return self._record

    def _do(self, action: Action) -> None:
        match action:
            case Open(peer):
                self._open(peer)
            case Connect(peer, parameters):
                self._log_in(peer, parameters)
            case Send():
                self._send(action)
            case Expect():
                self._expect(action)
            case LetIn(peer):
                self._let_in(peer)
            case Leave(peer, how):
                self._speaker(peer).leave(how)
            case Cancel(peer):
                self._cancel(self._speaker(peer))
            case Settle():
                self._settle()
            case Command(sql):
                self._console().rows(self._known.fill(sql), self._deadline())
            case Pools(numbers):
                self._wait_for_pool(dict(numbers))
            case Sql():
                self._sql(action)
            case Configure(key, value):
                assert self._target.bouncer is not None
                self._target.bouncer.configure(self._scenario, key, value)
            case PoolerEnds():
                self._wait_for_end()

    # Connections -------------------------------------------------------------------------------------------

    def _deadline(self) -> Deadline:
        return Deadline(self._seconds)

    def _speaker(self, name: str) -> Speaker:
        """Whoever has that name; a client that is new logs in, a server that is new waits for its pooler."""
        found = self._speakers.get(name)
        if found is not None:
            return found
        if name.startswith("server"):
            return self._accept(name)
        return self._log_in(name, ())

    def _open(self, name: str) -> Speaker:
        if name in self._speakers:
            raise Fault(f"{name} is connected already")
        speaker = Speaker(self._network, self._network.connect(name, self._target.host, self._target.port))
        self._speakers[name] = speaker
        return speaker

    def _log_in(self, name: str, parameters: tuple[Token, ...]) -> Speaker:
        speaker = self._open(name)
        pairs = self._identity(name) | dict(self._known.fill(word.text).split("=", 1) for word in parameters)
        speaker.log_in(pairs, self._deadline())
        return speaker

    def _identity(self, name: str) -> dict[str, str]:
        if name == ADMIN_CLIENT:
            return {"user": ADMIN, "database": "pgbouncer"}
        return {"user": USER, "database": self._target.database}

    def _accept(self, name: str) -> Speaker:
        """Servers have numbers in the order in which the pooler connects to them."""
        listener = self._target.listener
        if listener is None:
            raise Fault("there is no fake server")
        number = sum(other.startswith("server") for other in self._speakers) + 1
        if name != f"server{number}":
            raise Fault(f"{name} comes behind server{number}")
        listener.setblocking(False)
        deadline = self._deadline()
        while True:
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                deadline.check()
                self._network.pump(None, _MOMENT)
            else:
                speaker = Speaker(self._network, self._network.add(Peer(name, sock)), is_server=True)
                self._speakers[name] = speaker
                return speaker

    def _let_in(self, name: str) -> None:
        speaker = self._speaker(name)
        reply = speaker.next(self._deadline())
        if reply.word != STARTUP:
            raise Fault(f"{name} got {transcribed(reply)}, not a StartupMessage")
        speaker.write(WELCOME)

    def _cancel(self, victim: Speaker) -> None:
        peer = self._network.connect("cancel request", self._target.host, self._target.port)
        peer.write(cancel_request(victim.key))
        Speaker(self._network, peer).wait_closed(self._deadline())

    # Messages ----------------------------------------------------------------------------------------------

    def _send(self, action: Send) -> None:
        speaker = self._speaker(action.peer)
        encoded = [self._encoded(message, action.peer) for message in action.messages]
        data = (speaker.held_back if action.rest else b"") + b"".join(encoded)
        speaker.held_back = b""
        if action.cut is not None:
            last = len(encoded[-1])
            kept = last - action.cut if action.cut >= 0 else -action.cut
            if not 0 < kept < last:
                raise Fault(f"a message of {last} bytes cannot be cut at {action.cut}")
            data, speaker.held_back = data[:-kept], data[-kept:]
        speaker.write(data)
        if action.cut is not None:
            self._settle()

    def _encoded(self, message: Message, peer: str) -> bytes:
        forms = SERVER_MESSAGES if self._speaker(peer).is_server else CLIENT_MESSAGES
        values = [self._known.value(token) for token in message.arguments]
        if message.word == CANCEL_REQUEST:
            values = [self._speaker(str(values[0])).key]
        if message.word == STARTUP:
            given = dict(str(value).split("=", 1) for value in values)
            values = [f"{key}={value}" for key, value in (self._identity(peer) | given).items()]
        return forms[message.word].make(*values)

    def _expect(self, action: Expect) -> None:
        speaker = self._speaker(action.peer)
        for pattern in action.messages:
            if pattern.any_number:
                self._skip(speaker, pattern)
                continue
            try:
                reply = speaker.next(self._deadline(), pattern.word)
            except Silence as silence:
                raise Fault(f"{action.peer} waits for {spelled(pattern)}: {silence}") from silence
            expected = matches(pattern, reply, self._known)
            if not speaker.is_server:
                self._record.note(self._line, transcribed(reply, pattern if expected else None))
            if not expected:
                raise Fault(f"{action.peer} got {transcribed(reply)}, not {spelled(pattern)}")

    def _skip(self, speaker: Speaker, pattern: Message) -> None:
        while True:
            reply = speaker.next(self._deadline())
            if not matches(pattern, reply, self._known):
                speaker.push_back(reply)
                break
        self._record.note(self._line, spelled(pattern))

    # Beside the script -------------------------------------------------------------------------------------

    def _console(self) -> Speaker:
        return self._helper("console", self._target.host, self._target.port, self._identity(ADMIN_CLIENT))

    def _helper(self, name: str, host: str, port: int, pairs: dict[str, str]) -> Speaker:
        found = self._beside.get(name)
        if found is None:
            found = self._beside[name] = Speaker(self._network, self._network.connect(name, host, port))
            found.log_in(pairs, self._deadline())
        return found

    def _settle(self) -> None:
        """A pooler that answers twice has looked at all that was there before the first answer."""
        if self._target.bouncer is not None:
            for _ in range(2):
                self._console().rows("SHOW VERSION", self._deadline())

    def _sql(self, action: Sql) -> None:
        identity = {"user": USER, "database": self._target.real_database}
        database = self._helper("database", "127.0.0.1", self._database_port, identity)
        sql = self._known.fill(action.sql)
        deadline = self._deadline()
        while True:
            rows = database.rows(sql, self._deadline())
            if not action.until or "t" in (row[name] for row in rows[:1] for name in list(row)[:1]):
                return
            try:
                deadline.check()
            except Silence as silence:
                raise Fault(f"not true: {sql}") from silence
            self._network.pump(None, _MOMENT)

    def _wait_for_pool(self, wanted: dict[str, int]) -> None:
        deadline = self._deadline()
        while True:
            rows = self._console().rows("SHOW POOLS", self._deadline())
            ours = [row for row in rows if row["database"] == self._target.database]
            # Columns differ between versions.
            now = {name: sum(int(row[name] or 0) for row in ours) for name in wanted if name in rows[0]}
            if all(now[name] == wanted[name] for name in now):
                return
            try:
                deadline.check()
            except Silence as silence:
                raise Fault(f"SHOW POOLS has {now}, not {wanted}") from silence
            self._network.pump(None, _MOMENT)

    def _wait_for_end(self) -> None:
        deadline = self._deadline()
        while not self._has_ended():
            deadline.check()
            self._network.pump(None, _MOMENT)

    def _has_ended(self) -> bool:
        bouncer = self._target.bouncer
        return bouncer is not None and bouncer.process.process.poll() is not None

    # The end -----------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Every client that is still there, and one that is new, gets a row of its own and nothing else; and
        the pool is at rest when all have gone.
        """
        if self._has_ended():
            return
        faked = self._target.listener is not None
        clients = [name for name, speaker in self._speakers.items() if speaker.is_ready()]
        for name in clients:
            if not faked and name != ADMIN_CLIENT:
                self._probe(name)
            self._speakers[name].leave("closes")
        if not faked:
            self._probe("newcomer")
            self._speakers["newcomer"].leave("closes")
        for speaker in self._speakers.values():
            speaker.leave("closes")
        if self._target.bouncer is not None:
            self._wait_for_pool(dict.fromkeys(_AT_REST, 0))

    def _probe(self, name: str) -> None:
        token = Token(f"only {name} may see this", True)
        self._send(Send(name, (Message("Query", (Token(f"SELECT '{token.text}'", True),)),)))
        answer = (
            Message("RowDescription"),
            Message("DataRow", (token,)),
            Message("CommandComplete", (Token("SELECT 1", True),)),
            Message(READY_FOR_QUERY, (Token("I", False),)),
        )
        self._expect(Expect(name, answer))

    def _clean_up(self) -> None:
        """Has the pooler close the servers, which the next scenarios have no use for."""
        if self._target.bouncer is None or self._has_ended():
            return
        try:
            self._console().rows(f"RECONNECT {self._target.database}", self._deadline())
        except (Fault, Silence, Ended, OSError):
            # It is at its end; whoever asks next is told.
            return


def _place(line: int) -> str:
    return "at the end" if line == AT_THE_END else f"line {line}"
