"""Reads the lines of a scenario: what happens, and the messages in it."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.wire.script import (
    ADMIN_CLIENT,
    EVERYWHERE,
    POOLERS,
    TARGETS,
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
    Send,
    Settle,
    Sql,
    Token,
)
from tests.wire.tokens import SEPARATOR, tokenize
from tests.wire.vocabulary import (
    CLIENT_MESSAGES,
    READY_FOR_QUERY,
    REPLIES,
    REQUESTS,
    SERVER_MESSAGES,
    STARTUP,
)

SETTING = re.compile(r"([a-z_]+) = (.*)")

_ONLY = re.compile(rf"\[({'|'.join((*TARGETS, 'poolers'))})\] (.*)")
_TALK = re.compile(r"([a-z]+\d*)([<>]) (.*)")
_SERVER = re.compile(r"server\d+")
_TIMES = re.compile(r"(\d+) times: (.*)")
_ASKS = re.compile(r"([a-z]+) asks (\".*\") gets (.*)")
_RUNS = re.compile(r"([a-z]+) runs (\".*\") ([ITE])")
_NUMBER = re.compile(r"([a-z_]+) = (\d+)")

_REPEATED = "..."


def read_step(text: str) -> list[tuple[Action, frozenset[str]]]:
    """What a line does, and where. Most are one action; `asks` and `runs` are two."""
    targets = EVERYWHERE
    if found := _ONLY.fullmatch(text):
        targets = POOLERS if found[1] == "poolers" else frozenset({found[1]})
        text = found[2]
    actions = _actions(text)
    if not all(_is_for_postgresql(action) for action in actions):
        targets &= POOLERS
        if not targets:
            raise ValueError("PostgreSQL has no admin database")
    return [(action, targets) for action in actions]


def _is_for_postgresql(action: Action) -> bool:
    if isinstance(action, (Command, Pools, Configure, PoolerEnds)):
        return False
    return getattr(action, "peer", "") != ADMIN_CLIENT


def _actions(text: str) -> list[Action]:
    if found := _TALK.fullmatch(text):
        return [_talk(found[1], found[2], found[3])]
    if found := _ASKS.fullmatch(text):
        return _question(found[1], _sql(found[2]), tokenize(found[3]))
    if found := _RUNS.fullmatch(text):
        replies = Message("CommandComplete"), Message(READY_FOR_QUERY, (Token(found[3], False),))
        return [Send(found[1], (Message("Query", (_sql(found[2]),)),)), Expect(found[1], replies)]
    head, colon, tail = text.partition(": ")
    if colon and head in _LINES:
        return [_LINES[head](tail)]
    if text in _WHOLE_LINES:
        return [_WHOLE_LINES[text]]
    words = tokenize(text)
    if len(words) > 1 and words[1].text in _DEEDS:
        return [_deed(words[0].text, words[1].text, tuple(words[2:]))]
    raise ValueError(f"not a step: {text}")


_WHOLE_LINES: dict[str, Action] = {"settle": Settle(), "the pooler ends": PoolerEnds()}


def _deed(peer: str, verb: str, rest: tuple[Token, ...]) -> Action:
    if rest and verb != "connects":
        raise ValueError(f"nothing may follow behind {verb!r}")
    if any("=" not in word.text for word in rest):
        raise ValueError("parameters are key=value")
    return _DEEDS[verb](peer, rest)


_DEEDS: dict[str, Callable[[str, tuple[Token, ...]], Action]] = {
    "opens": lambda peer, _: Open(peer),
    "connects": Connect,
    "cancels": lambda peer, _: Cancel(peer),
    "welcomes": lambda peer, _: LetIn(peer),
    "closes": lambda peer, _: Leave(peer, "closes"),
    "aborts": lambda peer, _: Leave(peer, "aborts"),
}


def _pools(text: str) -> Action:
    numbers: dict[str, int] = {}
    for part in text.split(", "):
        found = _NUMBER.fullmatch(part)
        if found is None:
            raise ValueError(f"not a number of SHOW POOLS: {part}")
        numbers[found[1]] = int(found[2])
    return Pools(numbers)


def _configure(text: str) -> Action:
    found = SETTING.fullmatch(text)
    if found is None:
        raise ValueError(f"not a setting: {text}")
    return Configure(found[1], found[2])


def _at_work(text: str) -> str:
    quoted = text.replace("'", "''")
    return (
        "SELECT FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
        f" AND position('{quoted}' IN query) > 0"
    )


def _sleeping(text: str) -> Action:
    """A query with this text in it has come to its pg_sleep."""
    return Sql(f"SELECT EXISTS ({_at_work(text)} AND wait_event = 'PgSleep')", until=True)


def _over(text: str) -> Action:
    """PostgreSQL is not at work on a query with this text in it."""
    return Sql(f"SELECT NOT EXISTS ({_at_work(text)})", until=True)


def _unread(number: str) -> Action:
    """So many servers wait because nobody takes what they have to say."""
    return Sql(
        f"SELECT count(*) = {int(number)} FROM pg_stat_activity"
        " WHERE wait_event = 'ClientWrite' AND datname = current_database()",
        until=True,
    )


_LINES: dict[str, Callable[[str], Action]] = {
    "admin": Command,
    "database": Sql,
    "database until": lambda sql: Sql(sql, until=True),
    "query sleeps": _sleeping,
    "query is over": _over,
    "unread servers": _unread,
    "pool until": _pools,
    "config": _configure,
}


def _sql(text: str) -> Token:
    (token,) = tokenize(text)
    return token


def _question(peer: str, sql: Token, words: list[Token]) -> list[Action]:
    """A query and its row: the values, and then the status unless it is I."""
    bare = [word.text for word in words[-1:] if not word.quoted]
    status = words.pop() if bare and bare[0] in ("T", "E", "I") else Token("I", False)
    if not words:
        raise ValueError("a row has values")
    replies = (
        Message("RowDescription"),
        Message("DataRow", tuple(words)),
        Message("CommandComplete"),
        Message(READY_FOR_QUERY, (status,)),
    )
    return [Send(peer, (Message("Query", (sql,)),)), Expect(peer, replies)]


# Messages ---------------------------------------------------------------------------------------------------


def _talk(peer: str, direction: str, text: str) -> Action:
    times = 1
    if found := _TIMES.fullmatch(text):
        times, text = int(found[1]), found[2]
    parts = _split(tokenize(text))
    is_server = _SERVER.fullmatch(peer) is not None
    if direction == "<":
        known = REQUESTS if is_server else REPLIES
        return Expect(peer, tuple(_expected(part, known) for part in parts) * times)
    rest = parts[0] == [Token("rest", False)]
    if rest:
        parts = parts[1:]
    cut = _cut(parts[-1]) if parts else None
    if cut is not None:
        parts = parts[:-1]
    if times > 1 and (rest or cut is not None):
        raise ValueError("what is repeated cannot be cut")
    if not parts and (cut is not None or not rest):
        raise ValueError("there is nothing to send")
    messages = tuple(_sent(part, is_server) for part in parts)
    return Send(peer, messages * times, rest, cut)


def _split(tokens: list[Token]) -> list[list[Token]]:
    parts: list[list[Token]] = [[]]
    for token in tokens:
        if token == SEPARATOR:
            parts.append([])
        else:
            parts[-1].append(token)
    if not all(parts):
        raise ValueError("there is a message missing")
    return parts


def _cut(part: list[Token]) -> int | None:
    """`cut at N`: where the message in front of it is cut."""
    if [token.text for token in part[:2]] != ["cut", "at"] or len(part) != 3:
        return None
    return int(part[2].text)


def _sent(part: list[Token], is_server: bool) -> Message:
    word, arguments = part[0].text, tuple(part[1:])
    forms = SERVER_MESSAGES if is_server else CLIENT_MESSAGES
    if part[0].quoted or word not in forms:
        raise ValueError(f"{'a server' if is_server else 'a client'} does not send {word!r}")
    if not forms[word].takes(len(arguments)):
        raise ValueError(f"{word} does not take {len(arguments)} values")
    if word == STARTUP and any("=" not in argument.text for argument in arguments):
        raise ValueError("parameters are key=value")
    return Message(word, arguments)


def _expected(part: list[Token], known: frozenset[str]) -> Message:
    word = part[0].text.removesuffix(_REPEATED)
    if part[0].quoted or word not in known:
        raise ValueError(f"{word!r} is not something to expect here")
    if word == part[0].text:
        return Message(word, tuple(part[1:]))
    if part[1:]:
        raise ValueError("of any number of messages no values are looked at")
    return Message(word, (), any_number=True)
