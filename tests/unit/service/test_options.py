import io
import sys

import pytest

from pooler.service.options import Options, Stop, parse, parse_or_exit

PROGRAM = "/usr/bin/pooldeck-pgbouncer"
HINT = f'Try "{PROGRAM} --help" for more information.\n'


def stopped(*words: str) -> Stop:
    with pytest.raises(Stop) as raised:
        parse([PROGRAM, *words])
    return raised.value


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("a.ini", Options("a.ini")),
        ("-q a.ini", Options("a.ini", quiet=True)),
        ("a.ini -q", Options("a.ini", quiet=True)),
        ("--quiet --verbose a.ini", Options("a.ini", quiet=True, verbose=1)),
        ("-vqv a.ini -v", Options("a.ini", quiet=True, verbose=3)),
        ("--q --verb a.ini", Options("a.ini", quiet=True, verbose=1)),
        ("-u postgres a.ini", Options("a.ini", user="postgres")),
        ("-upostgres a.ini", Options("a.ini", user="postgres")),
        ("-qupostgres a.ini", Options("a.ini", quiet=True, user="postgres")),
        ("-qu postgres a.ini", Options("a.ini", quiet=True, user="postgres")),
        ("-uqv a.ini", Options("a.ini", user="qv")),
        ("--user postgres a.ini", Options("a.ini", user="postgres")),
        ("--user=postgres a.ini", Options("a.ini", user="postgres")),
        ("--us=a=b a.ini", Options("a.ini", user="a=b")),
        ("--user= a.ini", Options("a.ini", user="")),
        ("--user -q a.ini", Options("a.ini", user="-q")),
        ("-u one -u two a.ini", Options("a.ini", user="two")),
        ("-- -q", Options("-q")),
        ("-q -- --version", Options("--version", quiet=True)),
        ("-", Options("-")),
    ],
)
def test_words_become_options(words: str, expected: Options) -> None:
    assert parse([PROGRAM, *words.split()]) == expected


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "no configuration file specified"),
        ("a.ini b.ini", "no configuration file specified"),
        ("-u a.ini", "no configuration file specified"),
        ("--", "no configuration file specified"),
        ("-x a.ini", "invalid option -- 'x'"),
        ("-qx a.ini", "invalid option -- 'x'"),
        ("a.ini -x", "invalid option -- 'x'"),
        ("-?", "invalid option -- '?'"),
        ("-:", "invalid option -- ':'"),
        ("a.ini -u", "option requires an argument -- 'u'"),
        ("a.ini --user", "option '--user' requires an argument"),
        ("a.ini --us", "option '--user' requires an argument"),
        ("--quiet=1 a.ini", "option '--quiet' doesn't allow an argument"),
        ("--verb=2 a.ini", "option '--verbose' doesn't allow an argument"),
        ("--version=1", "option '--version' doesn't allow an argument"),
        ("--foo=bar", "unrecognized option '--foo=bar'"),
        ("---", "unrecognized option '---'"),
        ("--quietly", "unrecognized option '--quietly'"),
        ("--ver", "option '--ver' is ambiguous; possibilities: '--verbose' '--version'"),
        (
            "--=x",
            "option '--=x' is ambiguous; possibilities: '--quiet' '--verbose' '--help' '--daemon' "
            "'--version' '--reboot' '--user'",
        ),
    ],
)
def test_usage_errors_are_worded_as_getopt_long_words_them(words: str, complaint: str) -> None:
    stop = stopped(*words.split())
    assert (stop.code, stop.text) == (1, f"{PROGRAM}: {complaint}\n{HINT}")


def test_the_first_error_of_the_line_is_the_one_reported() -> None:
    assert "invalid option -- 'x'" in stopped("-x", "--foo").text


def test_posixly_correct_ends_the_options_at_the_first_operand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    assert parse([PROGRAM, "-q", "a.ini"]) == Options("a.ini", quiet=True)
    assert "no configuration file specified" in stopped("a.ini", "-q").text


@pytest.mark.parametrize("words", ["-V", "--version", "-qVx", "a.ini -V --foo", "-d -V"])
def test_version_is_answered_before_the_rest_of_the_line_is_read(words: str) -> None:
    stop = stopped(*words.split())
    lines = stop.text.splitlines()
    assert stop.code == 0
    assert lines[0] == "PgBouncer 1.25.2"
    assert [line.split()[0] for line in lines[1:]] == ["pooldeck", "Python", "uvloop", "data"]


@pytest.mark.parametrize("words", ["-h", "--help", "--h", "-qhx", "-R -h"])
def test_help_lists_every_option(words: str) -> None:
    stop = stopped(*words.split())
    assert stop.code == 0
    assert f"  {PROGRAM} [OPTION]... CONFIG_FILE\n" in stop.text
    for option in ("-d, --daemon", "-q, --quiet", "-R, --reboot", "-u, --user=USERNAME", "-v, --verbose"):
        assert f"\n  {option}" in stop.text


def test_an_error_before_version_wins() -> None:
    assert stopped("-x", "-V").code == 1


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("-d a.ini", "--daemon"),
        ("--daem a.ini", "--daemon"),
        ("-qR a.ini", "--reboot"),
        ("a --reb", "--reboot"),
    ],
)
def test_options_of_a_later_release_are_refused(words: str, option: str) -> None:
    stop = stopped(*words.split())
    assert stop.code == 1
    assert stop.text == f"{PROGRAM}: option '{option}' is not supported yet, it comes in a later release\n"


def test_a_usage_error_goes_before_the_refusal_of_a_later_option() -> None:
    assert stopped("-d").text == f"{PROGRAM}: no configuration file specified\n{HINT}"


class _Stream(io.TextIOWrapper):
    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8")

    def content(self) -> bytes:
        self.seek(0)
        return bytes(self.buffer.read())


@pytest.mark.parametrize(("word", "code", "stream"), [("-V", 0, "stdout"), ("-x", 1, "stderr")])
def test_exit_prints_help_to_stdout_and_errors_to_stderr(
    monkeypatch: pytest.MonkeyPatch, word: str, code: int, stream: str
) -> None:
    streams = {"stdout": _Stream(), "stderr": _Stream()}
    for name, value in streams.items():
        monkeypatch.setattr(sys, name, value)
    with pytest.raises(SystemExit) as raised:
        parse_or_exit(["p\udcff", word])
    assert raised.value.code == code
    printed = {name: value.content() for name, value in streams.items()}
    assert printed.pop(stream)
    assert list(printed.values()) == [b""]


def test_exit_survives_a_program_name_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = _Stream()
    monkeypatch.setattr(sys, "stderr", stderr)
    with pytest.raises(SystemExit):
        parse_or_exit(["p\udcff", "-x"])
    assert stderr.content().startswith(b"p\xff: invalid option -- 'x'\n")
