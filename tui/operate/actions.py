"""Every action that there is: what keys, menus, help, sub-commands and the journal are made of."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tui.admin.sqltext import identifier, setting, string
from tui.operate.subject import Key, Kind


class Risk(enum.IntEnum):
    """What has to be done before an action is carried out."""

    NONE = 0
    """Nothing: it lets clients go on."""
    CONFIRM = 1
    """Say yes; the answer that comes first is no."""
    NAME = 2
    """Type the name of what it is for."""
    POOLER = 3
    """Type the name of the pooler."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way of doing it."""

    word: str
    """What follows the verb; empty for the plain one."""
    title: str
    help: str
    is_job: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done to a pooler."""

    verb: str
    title: str
    key: str
    help: str
    scopes: Mapping[Kind, Risk]
    undo: str = ""
    """The verb that takes it back, if there is one."""
    no_undo: str = ""
    """Why nothing does."""
    is_job: bool = False
    """Whether it waits, so that it needs a connection of its own and can be given up."""
    variants: tuple[Variant, ...] = ()
    parameters: tuple[str, ...] = field(default=())
    """What else it has to be told: the key and value of SET."""

    @property
    def name(self) -> str:
        """As a sub-command, and in identifiers."""
        return self.verb.lower().replace("_", "-")

    def variant(self, word: str) -> Variant | None:
        """The variant with this word. Raises ValueError if there are some, and not this one."""
        if not self.variants:
            return None
        for variant in self.variants:
            if variant.word == word:
                return variant
        raise ValueError(f"{self.verb} has no {word}")

    def waits(self, word: str) -> bool:
        """Whether it is a job, in this variant."""
        variant = self.variant(word)
        return self.is_job if variant is None else variant.is_job

    def statement(self, key: Key | None, arguments: Mapping[str, str]) -> str:
        """The command; `key` is None for the whole pooler, and for nothing else. Raises ValueError."""
        if self.parameters:
            return f"{self.verb} {setting(arguments['key'])} = {string(arguments['value'])}"
        if key is None:
            if Kind.POOLER not in self.scopes:
                raise ValueError(f"{self.verb} is not for the whole pooler")
            return f"{self.verb} {arguments.get('variant', '')}".rstrip()
        if isinstance(key, str):
            return f"{self.verb} {identifier(key)}"
        if isinstance(key, int):
            return f"{self.verb} {key}"
        raise ValueError(f"{self.verb} goes by id, which this pooler does not have")


_OWN_RISK: Final = {Kind.DATABASE: Risk.NAME, Kind.POOLER: Risk.POOLER}
_CLIENTS: Final = {Kind.CLIENT: Risk.CONFIRM, Kind.SERVER: Risk.CONFIRM}

ACTIONS: Final = (
    Action(
        "PAUSE",
        "Pause",
        "P",
        "No more queries start. Those that run go on; it is complete when all servers are free and closed.",
        _OWN_RISK,
        undo="RESUME",
        is_job=True,
    ),
    Action(
        "RESUME",
        "Resume",
        "R",
        "Clients go on after PAUSE, KILL or SUSPEND.",
        {Kind.DATABASE: Risk.NONE, Kind.POOLER: Risk.NONE},
        undo="PAUSE",
    ),
    Action(
        "RECONNECT",
        "Reconnect",
        "N",
        "Every server connection is closed as soon as it is free, and opened anew. Clients stay.",
        {Kind.DATABASE: Risk.CONFIRM, Kind.POOLER: Risk.CONFIRM},
        no_undo="Nothing to undo: the pools fill again by themselves.",
    ),
    Action(
        "WAIT_CLOSE",
        "Wait for close",
        "W",
        "Waits until the servers that RECONNECT or RELOAD has marked are closed. Clients stay.",
        {Kind.DATABASE: Risk.CONFIRM, Kind.POOLER: Risk.CONFIRM},
        no_undo="Nothing to undo: it only waits.",
        is_job=True,
    ),
    Action(
        "DISABLE",
        "Disable",
        "D",
        "New clients are refused. Those who are in stay.",
        {Kind.DATABASE: Risk.NAME},
        undo="ENABLE",
    ),
    Action(
        "ENABLE",
        "Enable",
        "E",
        "New clients are accepted again.",
        {Kind.DATABASE: Risk.NONE},
        undo="DISABLE",
    ),
    Action(
        "KILL",
        "Kill",
        "K",
        "Pauses, and closes all connections of clients and servers at once.",
        _OWN_RISK,
        undo="RESUME",
    ),
    Action(
        "CANCEL_CLIENT",
        "Cancel query",
        "C",
        "Cancels the query that a client runs or waits with. The client stays.",
        _CLIENTS,
        no_undo="Not to be undone: the query fails.",
    ),
    Action(
        "KILL_CLIENT",
        "Kill clients",
        "T",
        "Closes the connections of clients. What they have not committed is rolled back.",
        {**_CLIENTS, Kind.DATABASE: Risk.NAME},
        no_undo="Not to be undone: the clients have to connect again.",
    ),
    Action(
        "RELOAD",
        "Reload",
        "L",
        "Takes over the configuration file and the user list. What was SET goes.",
        {Kind.POOLER: Risk.CONFIRM},
        no_undo="To undo it, put the old file back and RELOAD again.",
    ),
    Action(
        "SET",
        "Set",
        "S",
        "Changes a setting until the next RELOAD.",
        {Kind.POOLER: Risk.CONFIRM},
        undo="SET",
        parameters=("key", "value"),
    ),
    Action(
        "SUSPEND",
        "Suspend",
        "U",
        "Stops reading from all connections, once all that was read is passed on. Clients hang until RESUME.",
        {Kind.POOLER: Risk.POOLER},
        undo="RESUME",
        is_job=True,
    ),
    Action(
        "SHUTDOWN",
        "Shut down",
        "X",
        "Ends the pooler.",
        {Kind.POOLER: Risk.POOLER},
        no_undo="Not to be undone: the pooler has to be started again.",
        variants=(
            Variant(
                "WAIT_FOR_CLIENTS",
                "when clients have left",
                "Accepts nobody more, and ends when the last client has left.",
                is_job=True,
            ),
            Variant(
                "WAIT_FOR_SERVERS",
                "when servers are free",
                "Gives out no more servers, and ends when all are free.",
                is_job=True,
            ),
            Variant("", "immediately", "Ends at once. All clients lose their connections."),
        ),
    ),
)
"""In the order of menus."""

BY_VERB: Final[Mapping[str, Action]] = {action.verb: action for action in ACTIONS}
