"""What a command gets to work with, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pooler.admin.errors import AdminError
from pooler.admin.host import AdminHost
from pooler.relay.client import ClientConnection


class Console(Protocol):
    """Who gives a command, and to whom."""

    client: ClientConnection
    host: AdminHost
    is_admin: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """A command that is not done yet: once `over` is true, `outcome` makes its reply, or raises AdminError.

    Without an `outcome` nothing is said then; the console client has only been held up.
    """

    over: Callable[[], bool]
    outcome: Callable[[], bytes] | None = None


Reply = bytes | Wait


def require_admin(console: Console) -> None:
    """Raises AdminError for a member of `stats_users` who is not also in `admin_users`."""
    if not console.is_admin:
        raise AdminError("admin access needed")
