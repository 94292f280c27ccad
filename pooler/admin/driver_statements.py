"""What drivers and their pools send by themselves, answered as a PostgreSQL would that only reads.

Transactions are kept for their status alone. Run-time parameters of PostgreSQL can be set and mean nothing
here; a name that is a setting of the pooler, or unknown, is left to the commands, and so is all else that
PgBouncer understands.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pooler.admin import replies
from pooler.admin.commands import FAKE_SETTINGS, Prepared
from pooler.admin.console import Column, Console, Reply, Result, Row
from pooler.admin.conversation import NO_PORTAL, NO_TRANSACTION
from pooler.admin.errors import AdminError
from pooler.admin.formats import BOOL
from pooler.admin.health_checks import SELECTS, user
from pooler.admin.tokens import Tokens, is_name, name_of, split
from pooler.service.version import PGBOUNCER_COMPATIBILITY
from pooler.wire.messages import TEXT, notice

TEXT_LIMIT: Final = 2000
"""Characters: what drivers send by themselves is short."""

ACTIVE_TRANSACTION: Final = "25001"
UNKNOWN_PARAMETER: Final = "42704"

RUNTIME_PARAMETERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "application_name": "",
        "bytea_output": "hex",
        "client_connection_check_interval": "0",
        "client_min_messages": "notice",
        "default_transaction_deferrable": "off",
        "default_transaction_read_only": "off",
        "extra_float_digits": "1",
        "idle_in_transaction_session_timeout": "0",
        "idle_session_timeout": "0",
        "in_hot_standby": "off",
        "integer_datetimes": "on",
        "intervalstyle": "postgres",
        "is_superuser": "on",
        "jit": "off",
        "lc_messages": "C",
        "lc_monetary": "C",
        "lc_numeric": "C",
        "lc_time": "C",
        "lock_timeout": "0",
        "max_identifier_length": "63",
        "role": "none",
        "row_security": "on",
        "search_path": "public",
        "server_encoding": "UTF8",
        "server_version": f"{PGBOUNCER_COMPATIBILITY}/bouncer",
        "session_authorization": "",
        "statement_timeout": "0",
        "synchronous_commit": "on",
        "transaction_deferrable": "off",
        "transaction_isolation": "read committed",
        "transaction_read_only": "off",
        "work_mem": "4MB",
    }
)
"""What SHOW answers; `application_name` and `session_authorization` are the client's own."""

_SYNONYMS: Final[Mapping[tuple[str, ...], str]] = MappingProxyType(
    {
        ("transaction", "isolation", "level"): "transaction_isolation",
        ("time", "zone"): "timezone",
        ("session", "authorization"): "session_authorization",
    }
)

_ISOLATION: Final = ("isolation", "level", "serializable", "repeatable", "read", "committed", "uncommitted")
_MODE_WORDS: Final = frozenset((*_ISOLATION, "only", "write", "not", "deferrable", ","))
_BLOCK: Final = frozenset(((), ("work",), ("transaction",)))

Action = Callable[[Console], Result]


def find(text: str) -> Sequence[Prepared] | None:
    """The statements of a text, none of a blank one; None if any of them is not for here."""
    parts = split(text) if len(text) <= TEXT_LIMIT else None
    if parts is None:
        return None
    found = [_understand(tokens) for tokens in parts]
    understood = [prepared for prepared in found if prepared is not None]
    return understood if len(understood) == len(found) else None


def _understand(tokens: Tokens) -> Prepared | None:
    understand = _STATEMENTS.get(tokens[0])
    return None if understand is None else understand(tokens[1:])


def _does(action: Action, columns: Sequence[Column] | None = None, *, ends: bool = False) -> Prepared:
    def run(console: Console, values: Sequence[object]) -> Reply:
        return action(console)

    return Prepared(run, columns, ends_transaction=ends)


def _says(tag: str, notices: bytes = b"") -> Prepared:
    return _does(lambda console: Result(tag, notices=notices))


# Transactions ----------------------------------------------------------------------------------------------


def _begin(rest: Tokens) -> Prepared | None:
    if rest[:1] in _BLOCK:
        rest = rest[1:]
    return _does(lambda console: _begun(console, "BEGIN")) if _are_modes(rest) else None


def _start(rest: Tokens) -> Prepared | None:
    if rest[:1] != ("transaction",) or not _are_modes(rest[1:]):
        return None
    return _does(lambda console: _begun(console, "START TRANSACTION"))


def _are_modes(tokens: Tokens) -> bool:
    return _MODE_WORDS.issuperset(tokens)


def _begun(console: Console, tag: str) -> Result:
    transaction = console.conversation.transaction
    if transaction.status != "I":
        already = "there is already a transaction in progress"
        return Result(tag, notices=replies.warning(ACTIVE_TRANSACTION, already))
    transaction.begin()
    return Result(tag)


def _commit(rest: Tokens) -> Prepared | None:
    return _does(lambda console: _ended(console, "COMMIT"), ends=True) if rest in _BLOCK else None


def _rollback(rest: Tokens) -> Prepared | None:
    if rest in _BLOCK:
        return _does(lambda console: _ended(console, "ROLLBACK"), ends=True)
    if rest[:1] in _BLOCK:
        rest = rest[1:]
    name = rest[-1]
    if rest[:-1] not in (("to",), ("to", "savepoint")) or not is_name(name):
        return None

    def roll_back(console: Console) -> Result:
        transaction = console.conversation.transaction
        transaction.require_open("ROLLBACK TO SAVEPOINT")
        transaction.roll_back_to(name_of(name))
        return Result("ROLLBACK")

    return _does(roll_back, ends=True)


def _ended(console: Console, tag: str) -> Result:
    conversation = console.conversation
    status = conversation.transaction.status
    if status == "I":
        return Result(tag, notices=replies.warning(NO_TRANSACTION, "there is no transaction in progress"))
    conversation.transaction.end()
    conversation.portals.clear()
    return Result("ROLLBACK" if status == "E" else tag)


def _savepoint(rest: Tokens) -> Prepared | None:
    if len(rest) != 1 or not is_name(rest[0]):
        return None

    def save(console: Console) -> Result:
        transaction = console.conversation.transaction
        transaction.require_open("SAVEPOINT")
        transaction.save(name_of(rest[0]))
        return Result("SAVEPOINT")

    return _does(save)


def _release(rest: Tokens) -> Prepared | None:
    rest = rest[1:] if rest[:1] == ("savepoint",) else rest
    if len(rest) != 1 or not is_name(rest[0]):
        return None

    def release(console: Console) -> Result:
        transaction = console.conversation.transaction
        transaction.require_open("RELEASE SAVEPOINT")
        transaction.release(name_of(rest[0]))
        return Result("RELEASE")

    return _does(release)


# Run-time parameters ---------------------------------------------------------------------------------------


def is_runtime_parameter(name: str) -> bool:
    """One of PostgreSQL's that drivers set, and not one of the pooler's."""
    return name.lower() in RUNTIME_PARAMETERS or name.lower() in FAKE_SETTINGS


def _set(rest: Tokens) -> Prepared | None:
    ignored = _says("SET", notice("SET ignored"))
    if rest[:1] == ("transaction",) and _are_modes(rest[1:]):
        return ignored
    if rest[:4] == ("session", "characteristics", "as", "transaction") and _are_modes(rest[4:]):
        return ignored
    if rest == ("session", "authorization", "default"):
        return ignored
    scoped = rest[:1] in (("session",), ("local",))
    if scoped:
        rest = rest[1:]
    if rest[:2] == ("time", "zone"):
        return ignored if _are_values(rest[2:]) else None
    if rest[:1] == ("names",):
        return ignored if _are_values(rest[1:]) else None
    if len(rest) < 3 or rest[1] not in ("=", "to") or not is_name(rest[0]) or not _are_values(rest[2:]):
        return None
    name = name_of(rest[0]).lower()
    plain = not scoped and len(rest) == 3
    if not is_runtime_parameter(name) or (plain and name in FAKE_SETTINGS):
        return None  # PgBouncer has an answer
    return ignored


def _are_values(tokens: Tokens) -> bool:
    return bool(tokens) and all(token[0] not in "=();:$" for token in tokens)


def _reset(rest: Tokens) -> Prepared | None:
    name = _parameter_name(rest)
    return _says("RESET") if rest == ("all",) or is_runtime_parameter(name) else None


def _show(rest: Tokens) -> Prepared | None:
    name = _parameter_name(rest)
    if name not in RUNTIME_PARAMETERS and not (len(rest) > 1 and name in FAKE_SETTINGS):
        return None
    return _does(lambda console: Result("SHOW", [(name, TEXT)], [(_value(console, name),)]), [(name, TEXT)])


def _parameter_name(tokens: Tokens) -> str:
    """Empty if it is none."""
    if tokens in _SYNONYMS:
        return _SYNONYMS[tokens]
    return name_of(tokens[0]).lower() if len(tokens) == 1 else ""


def _value(console: Console, name: str) -> str:
    client = console.client
    if name == "application_name":
        return console.host.registry.parameters.value(client.params, name) or ""
    if name == "session_authorization":
        return user(console)
    return RUNTIME_PARAMETERS.get(name) or FAKE_SETTINGS[name]


# What a session has open -----------------------------------------------------------------------------------


def _discard(rest: Tokens) -> Prepared | None:
    if rest == ("all",):
        return _does(_discard_all)
    if rest in (("plans",), ("sequences",), ("temp",), ("temporary",)):
        return _says(f"DISCARD {rest[0].upper().removesuffix('ORARY')}")
    return None


def _discard_all(console: Console) -> Result:
    if console.conversation.transaction.status != "I":
        raise AdminError("DISCARD ALL cannot run inside a transaction block", ACTIVE_TRANSACTION)
    console.conversation.statements.clear()
    console.conversation.portals.clear()
    return Result("DISCARD ALL")


def _deallocate(rest: Tokens) -> Prepared | None:
    rest = rest[1:] if rest[:1] == ("prepare",) and len(rest) > 1 else rest
    if len(rest) != 1 or not is_name(rest[0]):
        return None

    def deallocate(console: Console) -> Result:
        statements = console.conversation.statements
        if rest == ("all",):
            statements.clear()
            return Result("DEALLOCATE ALL")
        console.conversation.statement(name_of(rest[0]))
        del statements[name_of(rest[0])]
        return Result("DEALLOCATE")

    return _does(deallocate)


def _close(rest: Tokens) -> Prepared | None:
    if len(rest) != 1 or not is_name(rest[0]):
        return None

    def close(console: Console) -> Result:
        portals = console.conversation.portals
        if rest == ("all",):
            portals.clear()
            return Result("CLOSE CURSOR ALL")
        if portals.pop(name_of(rest[0]), None) is None:
            raise AdminError(f'cursor "{name_of(rest[0])}" does not exist', NO_PORTAL)
        return Result("CLOSE CURSOR")

    return _does(close)


def _unlisten(rest: Tokens) -> Prepared | None:
    return _says("UNLISTEN") if len(rest) == 1 and (rest == ("*",) or is_name(rest[0])) else None


# Health checks ---------------------------------------------------------------------------------------------


def _select(rest: Tokens) -> Prepared | None:
    qualified = rest[:2] == ("pg_catalog", ".")
    known = SELECTS.get(" ".join(rest[2:] if qualified else rest))
    if known is None:
        return _set_config(rest)
    column, value = known

    def select(console: Console) -> Result:
        rows: list[Row] = [(value(console),)]
        return Result("SELECT 1", [column], rows)

    return _does(select, [column])


def _set_config(rest: Tokens) -> Prepared | None:
    """`SELECT set_config($1, $2, false)`, or with strings: SET for those who have arguments."""
    if rest[:2] != ("set_config", "(") or rest[3::2] != (",", ",", ")") or len(rest) != 8:
        return None
    name, value, local = rest[2:8:2]
    columns = [("set_config", TEXT)]
    given = sorted(token for token in (name, value, local) if token.startswith("$"))
    if given != [f"${number}" for number in range(1, len(given) + 1)]:
        return None
    if any(token[0] not in "$'" for token in (name, value)) or local not in ("true", "false", "$3"):
        return None

    def run(console: Console, values: Sequence[object]) -> Reply:
        def argument(token: str) -> object:
            return values[int(token[1:]) - 1] if token.startswith("$") else token[1:-1].replace("''", "'")

        if not is_runtime_parameter(str(argument(name))):
            raise AdminError(f'unrecognized configuration parameter "{argument(name)}"', UNKNOWN_PARAMETER)
        return Result("SELECT 1", columns, [(argument(value),)], notice("SET ignored"))

    return Prepared(run, columns, tuple(BOOL if token == local else TEXT for token in given))


_STATEMENTS: Final[Mapping[str, Callable[[Tokens], Prepared | None]]] = MappingProxyType(
    {
        "begin": _begin,
        "start": _start,
        "commit": _commit,
        "end": _commit,
        "rollback": _rollback,
        "abort": _rollback,
        "savepoint": _savepoint,
        "release": _release,
        "set": _set,
        "reset": _reset,
        "show": _show,
        "discard": _discard,
        "deallocate": _deallocate,
        "close": _close,
        "unlisten": _unlisten,
        "select": _select,
    }
)
"""By their first word."""
