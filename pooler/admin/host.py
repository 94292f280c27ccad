"""What the admin console needs of the process that it is the console of."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from pooler.pool.registry import Registry, Shutdown


class AdminHost(Protocol):
    """The pooler as a whole, as far as SHOW looks at it and commands change it."""

    @property
    def registry(self) -> Registry:
        """Databases, users, pools, and what state they are in."""

    def version_line(self) -> str:
        """SHOW VERSION."""

    def dns_rows(self) -> Sequence[tuple[str, int, str]]:
        """SHOW DNS_HOSTS: host name, seconds that the answer stays valid, addresses separated by commas."""

    def dns_counts(self) -> tuple[int, int, int, int]:
        """Names, zones, queries under way and queries that wait, for SHOW LISTS."""

    def listener_fds(self) -> Sequence[tuple[int, str, int]]:
        """Descriptor, address (`unix` for a unix socket) and port of every listening socket."""

    def certificates(self) -> Sequence[tuple[str, str, str, datetime]]:
        """Setting, file, subject and end of every TLS certificate in use, for SHOW CERTIFICATES."""

    def in_thread(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Has `work`, which raises nothing, done in a worker thread, then calls `done` on the event loop."""

    def reload(self) -> None:
        """Reads the configuration again. Raises ConfigErrors, before anything has changed or was logged."""

    def set_setting(self, name: str, text: str) -> str | None:
        """Changes a setting until the next RELOAD; one that only a restart may change stays as it is.

        Returns a notice for the admin if something is missing for it to have an effect.
        Raises KeyError if there is no such setting, ValueError if it cannot be that.
        """

    def suspend(self) -> None:
        """Pauses the registry with SUSPEND and stops reading from everybody but console clients."""

    def is_drained(self) -> bool:
        """While suspended: nothing is left in a buffer of the pooler."""

    def resume_from_suspend(self) -> None:
        """Undoes `suspend`, the pause of the registry included."""

    def shutdown(self, mode: Shutdown) -> None:
        """Goes down in this way; the registry is told, and paused for WAIT_FOR_SERVERS."""
