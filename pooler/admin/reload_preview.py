"""RELOAD DRY RUN: what the configuration file would change, and what has to happen for that."""

from typing import Final

from pooler.admin.actions import reload_failed
from pooler.admin.console import Console, Reply, Result
from pooler.admin.parser import Statement
from pooler.config.effects import changes
from pooler.config.errors import ConfigErrors
from pooler.wire.messages import TEXT

COLUMNS: Final = tuple((name, TEXT) for name in ("section", "key", "change", "old", "new", "needs"))


def dry_run(console: Console, statement: Statement) -> Reply:
    """RELOAD DRY RUN: a row for each change; fails as RELOAD would."""
    registry = console.host.registry
    try:
        fresh, others = console.host.preview_reload()
    except ConfigErrors as errors:
        raise reload_failed(registry, errors) from None
    return Result("RELOAD", COLUMNS, [*changes(registry.settings, registry.snapshot, fresh), *others])
