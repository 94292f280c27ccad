"""What a RELOAD would find new besides the settings, and what SAVE CONFIG makes of the configuration."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from pooler.admin.host import Change
from pooler.config.atomic import EditRefused
from pooler.config.effects import HIDDEN, NOW, RECONNECT
from pooler.config.save import Saved, carry_out, plan_save
from pooler.config.settings import SETTINGS, Settings
from pooler.config.snapshot import Snapshot
from pooler.config.userlist import load_userlist
from pooler.pool.registry import Registry
from pooler.service.access import Access


def other_files(registry: Registry, old: Access, new: Access, auth_file: str | None) -> list[Change]:
    """Certificates, rules, maps and users that are not as they were read last."""
    found: list[Change] = []
    for side, before, after in (
        ("client_tls", old.tls.clients, new.tls.clients),
        ("server_tls", old.tls.servers, new.tls.servers),
    ):
        if before is not after:
            found.append(("files", side, "changed", None, None, RECONNECT))
    if old.hba != new.hba:
        found.append(("files", "auth_hba_file", "changed", _rules(old), _rules(new), RECONNECT))
    if old.ident != new.ident:
        maps = str(len(old.ident.maps)), str(len(new.ident.maps))
        found.append(("files", "auth_ident_file", "changed", *maps, RECONNECT))
    return found + (_users(registry, auth_file) if auth_file else [])


def _rules(access: Access) -> str | None:
    return None if access.hba is None else f"{len(access.hba.rules)} rules"


def _users(registry: Registry, path: str) -> list[Change]:
    """The users of auth_file; a file that cannot be read is no error of RELOAD, but worth a row."""
    try:
        userlist = load_userlist(path)
    except OSError as error:
        return [("auth_file", path, "error", None, f"could not open: {error.strerror}", NOW)]
    before = {name: known.secret for name, known in registry.credentials.items() if known.in_auth_file}
    found: list[Change] = []
    if userlist.error:
        found.append(("auth_file", f"{path}:{userlist.error_line}", "error", None, userlist.error, NOW))
    for name in dict.fromkeys((*before, *userlist.users)):
        if name not in before:
            found.append(("auth_file", name, "added", None, HIDDEN, NOW))
        elif name not in userlist.users:
            found.append(("auth_file", name, "removed", HIDDEN, None, NOW))
        elif before[name] != userlist.users[name]:
            found.append(("auth_file", name, "changed", HIDDEN, HIDDEN, NOW))
    return found


def saved_snapshot(
    registry: Registry, values_set: Mapping[str, str], check: Callable[[Settings], object]
) -> tuple[list[Saved], list[str], Snapshot]:
    """Writes what was SET, and gives what was written, the backups, and the snapshot that is loaded now.

    `check` raises ConfigErrors if a pooler could not start with these settings. Raises EditRefused, OSError.
    """
    loaded = registry.snapshot
    values = {
        name: text
        for name, text in values_set.items()
        if getattr(registry.settings, name) != getattr(loaded.settings, name)
    }
    if "conffile" in values:
        raise EditRefused("conffile was SET: RELOAD first, which reads that file")
    if not values:
        return [], [], loaded
    plan = plan_save(loaded, values)
    check(plan.result.settings)
    backups = carry_out(plan)
    settings = replace(loaded.settings, **{name: SETTINGS[name].parse(text) for name, text in values.items()})
    result = replace(loaded, settings=settings, explicit=plan.result.explicit, content=plan.result.content)
    return list(plan.saved), backups, result
