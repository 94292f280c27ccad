"""Why an action cannot be done, here and now."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from tui.admin.capabilities import Capabilities
from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.target import DATABASE
from tui.operate.actions import Action
from tui.operate.operator import READ_ONLY
from tui.operate.subject import Kind, Subject

_PROBE: Final = "ENABLE"
_NO_RIGHTS: Final = "admin access needed"

_MANY: Final = {
    Kind.POOLER: "the whole pooler",
    Kind.DATABASE: "databases",
    Kind.CLIENT: "clients",
    Kind.SERVER: "servers",
}


class Rights(enum.Enum):
    """What the user of the console may do."""

    ADMIN = "admin"
    STATS = "stats"


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides whether something can be done."""

    capabilities: Capabilities
    rights: Rights = Rights.ADMIN
    read_only: bool = False
    user: str = ""
    several_hosts: bool = False
    """Whether each connection may reach another pooler: what is shown need not be what would be hit."""


async def probe_rights(connection: AdminConnection) -> Rights:
    """Find out whether this user may act, without doing anything. Raises AdminError.

    Our own pooler has a table for admins alone. Of a PgBouncer, whoever is in one of `admin_users` and
    `stats_users` is what it says. For others (the owner at the unix socket, a user whom a RELOAD took out of
    both) there is ENABLE without a name, which does nothing in any release: the error says who asks.
    """
    if connection.capabilities.has_table("LOGINS"):
        return await _refused(connection, "SHOW LOGINS")
    config = (await connection.rows("SHOW CONFIG")).pairs()
    user = connection.target.user
    if user in _names(config.get("admin_users")):
        return Rights.ADMIN
    if user in _names(config.get("stats_users")):
        return Rights.STATS
    return await _refused(connection, _PROBE)


async def _refused(connection: AdminConnection, command: str) -> Rights:
    try:
        await connection.run(command, 10.0)
    except AdminError as error:
        if error.lost:
            raise
        return Rights.STATS if _NO_RIGHTS in error.message else Rights.ADMIN
    return Rights.ADMIN


def _names(text: object) -> set[str]:
    return {name.strip() for name in str(text or "").split(",")}


def why_not(action: Action, subject: Subject | None, standing: Standing, variant: str = "") -> str | None:
    """Why this cannot be done, in words that can stand behind its name; None if it can.

    `variant` matters where the action has some: the plain one by default.
    """
    if standing.read_only:
        return READ_ONLY
    if standing.rights is not Rights.ADMIN:
        who = f"{standing.user} may" if standing.user else "stats_users may"
        return f"{who} look, and not act"
    if standing.several_hosts:
        return "the target names several hosts: name one to act"
    if not standing.capabilities.has_command(action.verb) or not _has_variant(action, variant, standing):
        return f"this pooler has no {f'{action.verb} {variant}'.rstrip()}"
    if subject is None:
        return "nothing is selected"
    if subject.kind not in action.scopes:
        return f"{action.verb} is for {' and '.join(_MANY[kind] for kind in action.scopes)}"
    if subject.kind is Kind.DATABASE and DATABASE in subject.keys:
        return "not for the admin database"
    if subject.kind is Kind.POOLER and not _takes_everything(action, standing):
        return f"{action.verb} of this pooler needs a database"
    return None


def _has_variant(action: Action, word: str, standing: Standing) -> bool:
    """Whether the line of SHOW HELP has it; whatever is plain needs none."""
    if not action.variants or not word:
        return True
    return any(word in form.split("|") for form in standing.capabilities.commands[action.verb])


def _takes_everything(action: Action, standing: Standing) -> bool:
    """Whether the verb may stand alone: KILL could not before PgBouncer 1.25."""
    if Kind.DATABASE not in action.scopes:
        return True
    forms = standing.capabilities.commands[action.verb]
    return any(not form or form.startswith("[") for form in forms)
