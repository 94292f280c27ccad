"""The start-up parameter `options`: command-line arguments for the server, of which a pooler can honour those
that set parameters.
"""

from collections.abc import Iterator

ONLY_SETTINGS = "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed"


class OptionsError(ValueError):
    """The options hold something else than parameters."""


def parse_options(text: str) -> Iterator[tuple[str, str]]:
    """Names and values of `-c name=value`, `-cname=value` and `--name=value`.

    A backslash makes the next character ordinary.

    Raises OptionsError, with PgBouncer's text, at anything else.
    """
    position = 0
    while True:
        position = _skip_blanks(text, position)
        if position == len(text):
            return
        if text.startswith("-c", position):
            position = _skip_blanks(text, position + 2)
        elif text.startswith("--", position):
            position += 2
        else:
            raise OptionsError(ONLY_SETTINGS)
        token, position = _token(text, position)
        name, equals, value = token.partition("=")
        if not equals or not name:
            raise OptionsError(ONLY_SETTINGS)
        yield name, value


def _skip_blanks(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _token(text: str, position: int) -> tuple[str, int]:
    characters: list[str] = []
    while position < len(text) and not text[position].isspace():
        if text[position] == "\\":
            position += 1
            if position == len(text):
                break
        characters.append(text[position])
        position += 1
    return "".join(characters), position
