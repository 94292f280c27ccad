"""Where something stands in a configuration file, and what is wrong with it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """A line of a configuration file; lines are counted from 1."""

    file: str
    line: int


@dataclass(frozen=True, slots=True)
class ConfigError:
    """One mistake; `line` is None where the file as a whole is meant. `str()` is `FILE:LINE: message`."""

    file: str
    line: int | None
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        # Bytes of the file that are not UTF-8 are lone surrogates here, which no log could encode.
        return f"{place}: {self.message}".encode("utf-8", "backslashreplace").decode()


class ConfigErrors(Exception):
    """Everything that is wrong with a configuration; `str()` is one mistake per line."""

    def __init__(self, errors: tuple[ConfigError, ...]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(map(str, self.errors))
