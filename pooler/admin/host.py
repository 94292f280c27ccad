"""What the admin console needs of the process that it is the console of."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from pooler.config.save import Saved
from pooler.config.snapshot import Snapshot
from pooler.pool.registry import Registry, Shutdown

if TYPE_CHECKING:
    from pooler.admin.audit import Audit
    from pooler.admin.pauses import PauseClaims

Change = tuple[str, str, str, str | None, str | None, str]
"""Something that RELOAD would change: section, key, what happens to it, old and new value (None: there is
none), and what it needs to take effect.
"""


class AdminHost(Protocol):
    """The pooler as a whole, as far as SHOW looks at it and commands change it."""

    @property
    def registry(self) -> Registry:
        """Databases, users, pools, and what state they are in."""

    @property
    def audit(self) -> "Audit":
        """The last commands."""

    @property
    def pauses(self) -> "PauseClaims":
        """The pauses that are not complete."""

    def version_line(self) -> str:
        """SHOW VERSION."""

    def dns_rows(self) -> Sequence[tuple[str, int, str]]:
        """SHOW DNS_HOSTS: host name, seconds that the answer stays valid, addresses separated by commas."""

    def dns_counts(self) -> tuple[int, int, int, int]:
        """Names, zones, queries under way and queries that wait, for SHOW LISTS."""

    def listener_fds(self) -> Sequence[tuple[int, str, int]]:
        """Descriptor, address (`unix` for a unix socket) and port of every listening socket."""

    def log_lines(self) -> Sequence[tuple[int, str, str, str]]:
        """Number, time, level and text of the last lines of the log, for SHOW LOG."""

    def certificates(self) -> Sequence[tuple[str, str, str, datetime]]:
        """Setting, file, subject and end of every TLS certificate in use, for SHOW CERTIFICATES."""

    def in_thread(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Has `work`, which raises nothing, done in a worker thread, then calls `done` on the event loop."""

    def reload(self) -> None:
        """Reads the configuration again. Raises ConfigErrors, before anything has changed or was logged."""

    def preview_reload(self) -> tuple[Snapshot, Sequence[Change]]:
        """Reads and checks all that `reload` would, and changes nothing: gives the configuration, and what is
        new in the files that it names. Raises ConfigErrors as `reload` does.
        """

    def set_setting(self, name: str, text: str) -> str | None:
        """Changes a setting until the next RELOAD.

        Returns a notice for the admin if something is missing for it to have an effect.
        Raises KeyError if there is no such setting, ValueError if it cannot be that, or not before a restart.
        """

    def read_config(self) -> Snapshot:
        """The configuration file as it is now, its other files unread. Raises ConfigErrors."""

    def values_set(self) -> Mapping[str, str]:
        """What was SET since the last RELOAD, texts by name."""

    def save_config(self) -> tuple[Sequence[Saved], Sequence[str]]:
        """Writes what was SET into the configuration file; returns that, and the names of the backups.

        Raises EditRefused, OSError, and ConfigErrors if a pooler could not start with it.
        """

    def suspend(self) -> None:
        """Pauses the registry with SUSPEND and stops reading from everybody but console clients."""

    def is_drained(self) -> bool:
        """While suspended: nothing is left in a buffer of the pooler."""

    def resume_from_suspend(self) -> None:
        """Undoes `suspend`, the pause of the registry included."""

    def shutdown(self, mode: Shutdown) -> None:
        """Goes down in this way; the registry is told, and paused for WAIT_FOR_SERVERS."""
