"""Writes the table of settings in docs/configuration.md: `python -m tests.docs.generate_settings`.

What the table of settings says is taken from there; `NOTES` adds what somebody who reads it wants to know
beyond.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from pooler.config.kinds import Choice, Int, Kind, Seconds
from pooler.config.settings import SETTINGS, Setting
from pooler.config.unsupported import REFUSED_SETTINGS, Refusal

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "configuration.md"
BEGIN: Final = "<!-- settings:begin -->\n"
END: Final = "<!-- settings:end -->\n"

HEADINGS: Final = ("Setting", "Values", "Default", "Also set by", "RELOAD", "Meaning")

_BUFFERS: Final = (
    "Here `pkt_buf` × `sbuf_loopcnt`, at least 64 KiB, is what may wait for a slow receiver before its "
    "sender is left unread."
)

NOTES: Final[Mapping[str, str]] = {
    "admin_users": "They stand in `auth_file` too.",
    "auth_ldap_options": "`auth_type = ldap` needs it.",
    "auth_file": "RELOAD reads it again if it was changed.",
    "auth_query": "It gets the name as `$1` and returns the name and the secret.",
    "auth_type": "With `md5`, users who have a SCRAM secret log in by SCRAM. "
    "`any` needs `user=` in the connect string, `trust` a user who is known.",
    "client_idle_timeout": "A client that holds a server is not idle in this sense.",
    "default_pool_size": "0 is no limit.",
    "disable_pqexec": "In the admin database too: drivers can use it then, psql cannot.",
    "ignore_startup_parameters": "`options` stands for all unknown ones in `options`.",
    "job_name": "Only shown, as by PgBouncer everywhere but on Windows.",
    "logfile": "RELOAD opens it anew.",
    "max_client_conn": "The admin database is exempt.",
    "max_packet_size": "A larger one costs its sender the connection.",
    "max_prepared_statements": "Session mode always leaves them alone.",
    "min_pool_size": "With `user=` in the connect string they are opened before the first client comes.",
    "pkt_buf": _BUFFERS,
    "query_timeout": "Waiting for a server counts.",
    "query_wait_notify": "Once for each wait.",
    "sbuf_loopcnt": _BUFFERS,
    "server_check_delay": "0 checks before every use.",
    "server_reset_query": "A server on which it fails is closed.",
    "client_tls13_ciphers": "Python before 3.15 cannot choose them: refused there.",
    "server_tls13_ciphers": "Python before 3.15 cannot choose them: refused there.",
    "server_tls_sslnegotiation": "PgBouncer has no such setting. `direct` takes PostgreSQL 17 or later, and "
    "`server_tls_sslmode` of `require` or stricter.",
    "track_extra_parameters": "PostgreSQL has to report them. `application_name`, `client_encoding`, "
    "`DateStyle`, `standard_conforming_strings` and `TimeZone` are always kept.",
    "transaction_mode_guard": "PgBouncer has no such setting. See [below](#unsafe-use-in-transaction-mode).",
    "unix_socket_dir": "Servers without `host` are looked for there too.",
    "verbose": "Unless the file sets it, what the command line says holds.",
}


def main() -> None:
    """Write the document anew."""
    DOCUMENT.write_text(renewed(DOCUMENT.read_text()))


def renewed(document: str) -> str:
    """The document with the table as it has to be; ValueError if the marks around it are missing."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the marks of the table are missing")
    return f"{before}{BEGIN}{table()}{END}{after}"


def table() -> str:
    """The settings in the order of SHOW CONFIG, as a Markdown table."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(_row(setting) for setting in SETTINGS.values())]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(setting: Setting) -> tuple[str, ...]:
    return (
        f"`{setting.name}`",
        _values(setting),
        _default(setting.default_text),
        "<br>".join(_other_scopes(setting)),
        "yes" if setting.reloadable else "restart",
        " ".join(_meaning(setting)),
    )


def _values(setting: Setting) -> str:
    kind = setting.kind
    if isinstance(kind, Choice):
        return ", ".join(f"`{name}`" for name in kind.names)
    if isinstance(kind, Int):
        return "0 or 1" if "(0 or 1)" in setting.help else "integer"
    return "seconds" if isinstance(kind, Seconds) else "text"


def _default(text: str | None) -> str:
    if text is None:
        return "unset"
    return f"`{text}`" if text else "empty"


def _other_scopes(setting: Setting) -> Iterator[str]:
    for scope, key in (("database", setting.database_key), ("user", setting.user_key)):
        if key is not None:
            yield scope if key == setting.name else f"{scope}, as `{key}`"


def _meaning(setting: Setting) -> Iterator[str]:
    yield _escaped(setting.help.removesuffix(" (0 or 1)")) + "."
    if setting.name in NOTES:
        yield NOTES[setting.name]
    if setting.name in REFUSED_SETTINGS:
        yield _refusal(setting.kind, REFUSED_SETTINGS[setting.name])


def _refusal(kind: Kind, refusal: Refusal) -> str:
    if isinstance(kind, Choice):
        fine = ", ".join(f"`{name}`" for name in kind.names if refusal.allows(kind.parse(name)))
        return f"**In this release only** {fine}."
    return f"**Not in this release:** {refusal.reason}."


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", "\\*").replace("|", "\\|")


if __name__ == "__main__":
    main()
