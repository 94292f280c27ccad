"""Session parameters that a pooler follows, so that each client finds its own on whichever server it gets.

A server reports changes of these with ParameterStatus. PgBouncer tracks five of them always, and those of
`track_extra_parameters`, as far as PostgreSQL reports them.
"""

from typing import Final

ALWAYS_TRACKED: Final = (
    "DateStyle",
    "client_encoding",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
)

_ALREADY_QUOTED: Final = frozenset({"search_path"})
"""Lists of identifiers, which PostgreSQL reports ready to be used in SET (GUC_LIST_QUOTE)."""

Values = tuple[str | None, ...]
"""One value for each tracked name; None where it is not known."""


class TrackedParameters:
    """The tracked names, and the pool of their value tuples.

    Values of a connection are an immutable tuple, and equal tuples are one object: an idle client costs a
    pointer, and "does this server suit this client" is an identity test.
    """

    def __init__(self, extra: tuple[str, ...]) -> None:
        by_key: dict[str, str] = {}
        for name in (*ALWAYS_TRACKED, *extra):
            by_key.setdefault(name.lower(), name)
        self.names: tuple[str, ...] = tuple(by_key.values())
        self._index = {name.lower(): position for position, name in enumerate(self.names)}
        self._shared: dict[Values, Values] = {}
        self.empty: Values = self.share((None,) * len(self.names))

    def share(self, values: Values) -> Values:
        """The one object that stands for these values."""
        if len(self._shared) > 20_000:
            self._shared.clear()
        return self._shared.setdefault(values, values)

    def position(self, name: str) -> int | None:
        """Where a parameter stands in a tuple of values, or None if it is not tracked.

        PostgreSQL's names are case-insensitive, and drivers differ in how they spell DateStyle and TimeZone.
        """
        return self._index.get(name.lower())

    def value(self, values: Values, name: str) -> str | None:
        """The value of a tracked parameter, None if unknown."""
        position = self.position(name)
        return None if position is None else values[position]

    def with_value(self, values: Values, position: int, value: str) -> Values:
        """`values` with one of them changed."""
        if values[position] == value:
            return values
        return self.share((*values[:position], value, *values[position + 1 :]))

    def filled(self, values: Values, defaults: Values) -> Values:
        """`values` with the unknown ones taken from `defaults`."""
        if None not in values:
            return values
        return self.share(tuple(b if a is None else a for a, b in zip(values, defaults, strict=True)))

    def set_statements(self, wanted: Values, current: Values) -> str:
        """SQL that brings a server from `current` to `wanted`; empty if nothing differs but case."""
        return "".join(
            f"SET {name}={_literal(name, new)};"
            for name, new, old in zip(self.names, wanted, current, strict=True)
            if new is not None and old is not None and new != old and new.lower() != old.lower()
        )


def _literal(name: str, value: str) -> str:
    if name.lower() in _ALREADY_QUOTED:
        return "''" if value == '""' else value
    quoted = "'" + value.replace("'", "''").replace("\\", "\\\\") + "'"
    return "E" + quoted if "\\" in value else quoted
