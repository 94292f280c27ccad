"""Which PgBouncer this pooler stands in for, and what it is made of."""

from pooler.wire import framing

PGBOUNCER_COMPATIBILITY = "1.25.2"

VERSION_LINE = f"PgBouncer {PGBOUNCER_COMPATIBILITY}"
"""First line of ``--version`` and the value of ``SHOW VERSION``; clients parse it."""


def pooldeck_version() -> str:
    """Version of the installed distribution, ``unknown`` in a bare source tree."""
    return _installed("pooldeck")


def data_path_compiled() -> bool:
    """Whether the hot modules are the compiled ones; the interpreted source behaves the same, slower."""
    return framing.__file__.endswith((".so", ".pyd"))


def details() -> list[str]:
    """The lines that ``--version`` prints below :data:`VERSION_LINE`."""
    from platform import python_version

    return [
        f"pooldeck {pooldeck_version()}",
        f"Python {python_version()}",
        f"uvloop {_installed('uvloop')}",
        f"data path: {'compiled' if data_path_compiled() else 'interpreted'}",
    ]


def _installed(distribution: str) -> str:
    # importlib.metadata takes longer to import than everything else that a start-up needs from here
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
