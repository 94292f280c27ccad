"""Poolers that are broken on purpose, to show that the token test notices.

Run as a program it is the pooler's executable with one defect, named by its first argument:
`python mutants.py DEFECT pgbouncer.ini`. The defects take the place of methods, so the pooler has to be
interpreted, not compiled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pooler.pool.members import Server
from pooler.pool.pool import Pool
from pooler.relay.server import ServerConnection
from pooler.service.main import main
from pooler.service.version import data_path_compiled
from pooler.wire.framing import EXECUTE, PARSE, QUERY
from pooler.wire.prepared import Change
from pooler.wire.requests import ACTION, FAKE, KIND, RequestQueue

if TYPE_CHECKING:
    from tests.support.bouncer import PoolerProcess


def ready_pops_everything() -> None:
    """ReadyForQuery ends all that is outstanding, and not only what came before its Sync."""

    def ready(self: RequestQueue) -> int:
        action = int(self.head & ACTION)
        self.clear()
        return action

    _replace(RequestQueue, "ready", ready)


def failed_keeps_pipeline() -> None:
    """An error ends the request that it is for, but not those that the server then throws away."""

    def failed(self: RequestQueue) -> list[int]:
        if self.head and not self._head_is_simple():
            self._drop_head(undo=True)
        return []

    _replace(RequestQueue, "failed", failed)


def faked_parse_forgotten() -> None:
    """The ParseComplete that the pooler owes by itself is not put in line."""
    push_change = RequestQueue.push_change

    def push(self: RequestQueue, entry: int, change: Change) -> bool:
        return entry == PARSE | FAKE or push_change(self, entry, change)

    _replace(RequestQueue, "push_change", push)


def completed_ends_query() -> None:
    """CommandComplete ends a Query, as if there were one for each."""

    def completed(self: RequestQueue) -> int:
        if self.copying:
            self.copying = False
            self._drop_through_copy_end([])
        if self.head & KIND == QUERY:
            return int(self.answered(QUERY))
        return int(self.answered(EXECUTE))

    _replace(RequestQueue, "completed", completed)


def released_at_ready() -> None:
    """A server is given back when it says that it is idle, whatever is outstanding."""
    ready_for_query, after_chunk = ServerConnection._ready_for_query, ServerConnection._after_chunk
    idle: set[ServerConnection] = set()

    def noting(self: ServerConnection, data: bytes, position: int, length: int) -> bool:
        allowed = ready_for_query(self, data, position, length)
        if self.ready:
            idle.add(self)
        return allowed

    def forgetful(self: ServerConnection) -> None:
        if self in idle:
            idle.remove(self)
            self.ready = True
            self.queue.clear()
        after_chunk(self)

    _replace(ServerConnection, "_ready_for_query", noting)
    _replace(ServerConnection, "_after_chunk", forgetful)


def cancel_not_awaited() -> None:
    """A server goes to the next client while a cancel request for the last one is still under way."""
    release = Pool.release

    def careless(self: Pool, server: Server) -> None:
        server.cancels = []
        release(self, server)

    _replace(Pool, "release", careless)


MUTANTS: dict[str, Callable[[], None]] = {
    "ready-pops-everything": ready_pops_everything,
    "failed-keeps-pipeline": failed_keeps_pipeline,
    "faked-parse-forgotten": faked_parse_forgotten,
    "completed-ends-query": completed_ends_query,
    "released-at-ready": released_at_ready,
    "cancel-not-awaited": cancel_not_awaited,
}


def broken_pooler(name: str) -> type[PoolerProcess]:
    """A PoolerProcess with this defect."""
    from tests.support.bouncer import PoolerProcess

    class BrokenPooler(PoolerProcess):
        def program(self) -> list[str]:
            return [self._python, "-P", str(Path(__file__).resolve()), name]

    return BrokenPooler


def _replace(owner: type[Any], name: str, method: Callable[..., Any]) -> None:
    setattr(owner, name, method)


if __name__ == "__main__":
    if data_path_compiled():
        sys.exit("the defects need a pooler that is not compiled")
    MUTANTS[sys.argv[1]]()
    sys.exit(main([sys.argv[0], *sys.argv[2:]]))
