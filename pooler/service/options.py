"""Command line of ``pooldeck-pgbouncer``, read as GNU getopt_long reads PgBouncer's.

Scripts and service files match PgBouncer's messages and exit codes, so these are its own. The standard
library's getopt words its errors differently, and reads the whole line before it acts on ``-V`` or ``-h``.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_LONG = {
    "quiet": "q",
    "verbose": "v",
    "help": "h",
    "daemon": "d",
    "version": "V",
    "reboot": "R",
    "user": "u",
}
_WITH_ARGUMENT = "u"
_LATER = {"d": "--daemon", "R": "--reboot"}

_HELP = """\
{program} is a connection pooler for PostgreSQL.

Usage:
  {program} [OPTION]... CONFIG_FILE

Options:
  -d, --daemon         run in background (in a later release)
  -q, --quiet          run quietly
  -R, --reboot         do an online reboot (in a later release)
  -u, --user=USERNAME  assume identity of USERNAME
  -v, --verbose        increase verbosity
  -V, --version        show version, then exit
  -h, --help           show this help, then exit
"""


class Options(NamedTuple):
    """What the command line asks for."""

    config: str
    quiet: bool = False
    verbose: int = 0
    """Times that ``-v`` was given: 1 shows DEBUG, 2 and more show NOISE as well."""
    user: str | None = None
    """Account to change to; goes before the ``user`` setting."""


class Stop(Exception):
    """The command line is answered without starting: help, version, or a usage error.

    :param code: exit code; 0 sends the text to standard output, anything else to standard error.
    :param text: what to print, lines ended.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def parse(argv: Sequence[str]) -> Options:
    """Read a whole command line, program name included.

    :raises Stop: for ``-h``, ``-V``, a usage error, or an option of a later release.
    """
    program = argv[0]
    try:
        given, operands = _scan(argv[1:])
        return _options(given, operands)
    except _Refused as refused:
        raise Stop(1, f"{program}: {refused}\n") from None
    except _UsageError as error:
        raise Stop(1, f'{program}: {error}\nTry "{program} --help" for more information.\n') from None
    except _ShowHelp:
        raise Stop(0, _HELP.format(program=program)) from None
    except _ShowVersion:
        from pooler.service.version import VERSION_LINE, details

        raise Stop(0, "".join(f"{line}\n" for line in [VERSION_LINE, *details()])) from None


def parse_or_exit(argv: Sequence[str]) -> Options:
    """:func:`parse`, printing what a :class:`Stop` says.

    :raises SystemExit: with the code of the :class:`Stop`.
    """
    try:
        return parse(argv)
    except Stop as stop:
        stream = sys.stderr if stop.code else sys.stdout
        stream.flush()
        # the program's own name need not be valid text
        stream.buffer.write(os.fsencode(stop.text))
        stream.buffer.flush()
        raise SystemExit(stop.code) from None


class _UsageError(Exception):
    pass


class _Refused(Exception):
    pass


class _ShowHelp(Exception):
    pass


class _ShowVersion(Exception):
    pass


class _Given(NamedTuple):
    """One option of the command line."""

    letter: str
    argument: str = ""


def _options(given: list[_Given], operands: list[str]) -> Options:
    if len(operands) != 1:
        raise _UsageError("no configuration file specified")
    letters = [option.letter for option in given]
    for letter, name in _LATER.items():
        if letter in letters:
            raise _Refused(f"option '{name}' is not supported yet, it comes in a later release")
    users = [option.argument for option in given if option.letter == "u"]
    return Options(
        config=operands[0],
        quiet="q" in letters,
        verbose=letters.count("v"),
        user=users[-1] if users else None,
    )


def _scan(words: Sequence[str]) -> tuple[list[_Given], list[str]]:
    """Split words into options and operands; options may follow operands, up to ``--``."""
    given: list[_Given] = []
    operands: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            break
        if word.startswith("--"):
            given.append(_acted_on(_long_option(word, rest)))
        elif word.startswith("-") and word != "-":
            given.extend(map(_acted_on, _short_options(word, rest)))
        else:
            operands.append(word)
            if "POSIXLY_CORRECT" in os.environ:
                break
    return given, [*operands, *rest]


def _acted_on(option: _Given) -> _Given:
    """Help and version act when they are met: what follows them on the line is not even looked at."""
    if option.letter == "h":
        raise _ShowHelp
    if option.letter == "V":
        raise _ShowVersion
    return option


def _long_option(word: str, rest: Iterator[str]) -> _Given:
    start, equals, argument = word[2:].partition("=")
    names = [name for name in _LONG if name.startswith(start)]
    if not names:
        raise _UsageError(f"unrecognized option '{word}'")
    if len(names) > 1:
        possibilities = " ".join(f"'--{name}'" for name in names)
        raise _UsageError(f"option '{word}' is ambiguous; possibilities: {possibilities}")
    name = names[0]
    letter = _LONG[name]
    if letter not in _WITH_ARGUMENT:
        if equals:
            raise _UsageError(f"option '--{name}' doesn't allow an argument")
        return _Given(letter)
    if equals:
        return _Given(letter, argument)
    return _Given(letter, _next_word(rest, f"option '--{name}' requires an argument"))


def _short_options(word: str, rest: Iterator[str]) -> Iterator[_Given]:
    letters = iter(word[1:])
    for letter in letters:
        if letter not in _LONG.values():
            raise _UsageError(f"invalid option -- '{letter}'")
        if letter not in _WITH_ARGUMENT:
            yield _Given(letter)
            continue
        attached = "".join(letters)
        yield _Given(letter, attached or _next_word(rest, f"option requires an argument -- '{letter}'"))


def _next_word(rest: Iterator[str], missing: str) -> str:
    word = next(rest, None)
    if word is None:
        raise _UsageError(missing)
    return word
