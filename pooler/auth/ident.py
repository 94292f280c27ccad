"""`auth_ident_file`: which database users the owner of a certificate, or a Unix user, may log in as.

Lines of `MAP SYSTEM-USER DATABASE-USER`. The language is PgBouncer's and, beyond that, PostgreSQL's regular
expressions: a system user that begins with a slash is one, quoted or not, and `\\1` in the database user is
what its first group matched. `all` is every database user, unless quoted.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pooler.auth.fields import Fields, logical_lines, plain_name, read_text, shown
from pooler.auth.regex import Regex
from pooler.config.errors import ConfigError, ConfigErrors


@dataclass(frozen=True, slots=True)
class IdentLine:
    """One line of a map; `database_user` is None for all."""

    system_user: str | Regex
    database_user: str | None

    def allows(self, system_user: str, database_user: str, same: Callable[[str, str], bool]) -> bool:
        """See `IdentMaps.allows`."""
        if not isinstance(self.system_user, Regex):
            return self.database_user in (None, database_user) and same(system_user, self.system_user)
        expected = self.system_user.expand(system_user, self.database_user or "")
        return expected is not None and (self.database_user is None or expected == database_user)


@dataclass(frozen=True, slots=True)
class IdentMaps:
    """The maps of a file by name, without the lines that are `errors`."""

    maps: Mapping[str, Sequence[IdentLine]]
    errors: tuple[ConfigError, ...] = ()

    def __contains__(self, name: object) -> bool:
        return name in self.maps

    def allows(
        self,
        map_name: str,
        system_user: str,
        database_user: str,
        same: Callable[[str, str], bool] = operator.eq,
    ) -> bool:
        """Whether a map has a line for these users; an unknown map or a nameless system user never does.

        `same(system_user, name)` compares with a name of the file, because a certificate's name is compared
        like that of a host. Regular expressions, and database users, are a matter of upper and lower case.
        """
        if not system_user:
            return False
        return any(line.allows(system_user, database_user, same) for line in self.maps.get(map_name, ()))


def parse_ident(path: str) -> IdentMaps:
    """Read a file; raises ConfigErrors with all its mistakes."""
    try:
        text = read_text(path)
    except ValueError as error:
        raise ConfigErrors((ConfigError(path, None, str(error)),)) from None
    maps = parse_ident_text(text, path)
    if maps.errors:
        raise ConfigErrors(maps.errors)
    return maps


def parse_ident_text(text: str, name: str) -> IdentMaps:
    """Read the text of a file called `name`; its errors are in the result."""
    maps: dict[str, list[IdentLine]] = {}
    errors: list[ConfigError] = []
    for number, line in logical_lines(text):
        try:
            fields = Fields(line)
            if fields.token is not None:
                map_name = fields.word("the name of a map")
                ident_line = _ident_line(fields)
                maps.setdefault(map_name, []).append(ident_line)
        except ValueError as error:
            errors.append(ConfigError(name, number, str(error)))
    return IdentMaps({map_name: tuple(lines) for map_name, lines in maps.items()}, tuple(errors))


def _ident_line(fields: Fields) -> IdentLine:
    """What follows the name of the map."""
    text = fields.name("the system user").text
    system_user = Regex(text[1:]) if text.startswith("/") else text
    everybody = fields.is_word("all")
    name = plain_name(fields.name("the database user"))
    if fields.token is not None:
        raise ValueError("there is more than a map, a system user and a database user")
    if isinstance(system_user, Regex) and not system_user.groups and "\\1" in name:
        raise ValueError(f"regular expression {shown(text)} has no group for \\1 in {shown(name)}")
    return IdentLine(system_user, None if everybody else name)
