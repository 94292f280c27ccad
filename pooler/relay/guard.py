"""What a statement would leave behind on a server that the next client gets (`transaction_mode_guard`)."""

from typing import TYPE_CHECKING, Final

from pooler.config.kinds import Guard
from pooler.pool.members import Client
from pooler.wire import messages
from pooler.wire.heads import (
    DEALLOCATE,
    LISTEN,
    NAMES,
    NOTHING,
    PREPARE,
    SET,
    use_of,
    use_of_tag,
)

if TYPE_CHECKING:
    from pooler.relay.server import ServerConnection

NOT_SUPPORTED: Final = "0A000"

_TOLD_BY_TAG: Final = (LISTEN, PREPARE, DEALLOCATE)
"""Counted when they have run."""


def judge(server: "ServerConnection", client: Client, text: bytes) -> bytes:
    """A client is about to send a text that begins like this. The error in its place, empty if it may."""
    kind, parameter = use_of(text)
    refusing = server.pool.guard == Guard.ERROR
    if kind == NOTHING:
        return b""
    if kind == SET:
        if not parameter or server.context.registry.parameters.position(parameter) is not None:
            server.judged += 1
            return b""
        if not refusing:
            server.judged += 1
    elif kind in _TOLD_BY_TAG and not refusing:
        return b""
    _note(server, client, kind)
    if not refusing:
        return b""
    what = f"SET {parameter}" if kind == SET else NAMES[kind]
    mode = server.pool.policy.mode.name.lower()
    return messages.error(
        "ERROR", NOT_SUPPORTED, f"{what} is not allowed in {mode} pooling mode (transaction_mode_guard)"
    )


def judge_tag(server: "ServerConnection", client: Client, tag: bytes) -> None:
    """A statement has run that may not have been the first of its text, or was prepared before."""
    kind = use_of_tag(tag)
    if kind == NOTHING:
        return
    if kind == SET:
        if server.judged > 0:
            server.judged -= 1
            return
        if server.in_block:
            # It may have been SET LOCAL.
            _taint(server)
            return
    _note(server, client, kind)


def _taint(server: "ServerConnection") -> None:
    if server.pool.guard >= Guard.RESET:
        server.tainted = True


def _note(server: "ServerConnection", client: Client, kind: int) -> None:
    pool, registry = server.pool, server.context.registry
    application = registry.parameters.value(client.params, "application_name") or ""
    pool.unsafe.add(NAMES[kind], application, client_id=int(client.id))
    _taint(server)
    if client.warned & (1 << kind):
        return
    client.warned |= 1 << kind
    mode = pool.policy.mode.name.lower()
    registry.log.warning(
        f"unsafe in {mode} pooling mode: {NAMES[kind]} (transaction_mode_guard)", client.describe()
    )
