"""SAVE CONFIG: what was SET goes into the configuration file."""

import os
from typing import Final

from pooler.admin.audit import HIDDEN
from pooler.admin.console import Console, Reply, Result
from pooler.admin.errors import AdminError
from pooler.admin.parser import Statement
from pooler.config.atomic import EditRefused, account_name
from pooler.config.errors import ConfigErrors
from pooler.config.settings import SETTINGS
from pooler.wire.messages import CONFIG_FILE_ERROR, INT4, TEXT

COLUMNS: Final = (
    ("key", TEXT),
    ("old", TEXT),
    ("new", TEXT),
    ("file", TEXT),
    ("line", INT4),
    ("backup", TEXT),
)


def save(console: Console, statement: Statement) -> Reply:
    """SAVE CONFIG: a row for each setting that was written; none if nothing was SET."""
    log = console.host.registry.log
    log.info("SAVE CONFIG command issued")
    try:
        saved, backups = console.host.save_config()
    except OSError as error:
        who = account_name(os.geteuid())
        reason = f"{error.filename or 'the file'}: {error.strerror} (the pooler runs as {who})"
        raise _failed(reason) from None
    except EditRefused as refused:
        raise _failed(f"{refused} (the pooler runs as {account_name(os.geteuid())})") from None
    except ConfigErrors as errors:
        raise _failed(str(errors)) from None
    by_file = {backup.rpartition(".")[0]: backup for backup in backups}
    rows = [
        (
            one.key,
            _shown(one.key, one.old),
            _shown(one.key, one.new),
            one.origin.file,
            one.origin.line,
            by_file.get(os.path.realpath(one.origin.file)),
        )
        for one in saved
    ]
    for row in rows:
        log.info(f"SAVE CONFIG: {row[0]} = {row[2]} written to {row[3]}:{row[4]}")
    return Result("SAVE", COLUMNS, rows)


def _shown(name: str, text: str | None) -> str | None:
    return HIDDEN if text is not None and SETTINGS[name].secret else text


def _failed(reason: str) -> AdminError:
    return AdminError("SAVE CONFIG failed", CONFIG_FILE_ERROR, reason)
