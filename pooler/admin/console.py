"""What a command gets to work with, and what it gives back."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pooler.admin.errors import AdminError
from pooler.admin.host import AdminHost
from pooler.relay.client import ClientConnection

if TYPE_CHECKING:
    from pooler.admin.conversation import Conversation

Column = tuple[str, int]
"""Name and type oid."""

Row = tuple[object, ...]
"""Values as text format has them; None is NULL."""


class Console(Protocol):
    """Who gives a command, and to whom."""

    client: ClientConnection
    host: AdminHost
    is_admin: bool
    conversation: "Conversation"


@dataclass(frozen=True, slots=True)
class Result:
    """What a command that is done answers, whatever protocol asked: a tag, and rows if it has `columns`.

    `rows` may be made one by one while they are sent, from what was noted down when the command ran.
    `notices` are NoticeResponses, which come first.
    """

    tag: str
    columns: Sequence[Column] | None = None
    rows: Iterable[Row] = ()
    notices: bytes = b""


@dataclass(frozen=True, slots=True)
class Wait:
    """A command that is not done yet: once `over` is true, `outcome` makes its result, or raises AdminError.

    Without an `outcome` nothing is said then; the console client has only been held up. `abandoned` is called
    with the reason, instead of `outcome`, when the client cancels the command or goes away.
    """

    over: Callable[[], bool]
    outcome: Callable[[], Result] | None = None
    abandoned: Callable[[str], None] | None = None


Reply = Result | Wait


def require_admin(console: Console) -> None:
    """Raises AdminError for a member of `stats_users` who is not also in `admin_users`."""
    if not console.is_admin:
        raise AdminError("admin access needed")
