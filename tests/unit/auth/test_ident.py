"""auth_ident_file: its lines, whom a map lets in, and the regular expressions."""

import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.auth.ident import IdentLine, IdentMaps, parse_ident, parse_ident_text
from pooler.auth.regex import MAX_PROGRAM, MAX_SYSTEM_USER, Regex
from pooler.config.errors import ConfigErrors


def short(line: IdentLine) -> tuple[str, str | None]:
    """The users of a line, a regular expression as its kind."""
    return ("<regex>" if isinstance(line.system_user, Regex) else line.system_user, line.database_user)


def users(text: str) -> dict[str, list[tuple[str, str | None]]]:
    maps = parse_ident_text(text, "ident")
    assert maps.errors == ()
    return {name: [short(line) for line in lines] for name, lines in maps.maps.items()}


@pytest.mark.parametrize(
    ("text", "maps"),
    [
        ("", {}),
        ("# comment\n\n \t\r\n", {}),
        ("m sys db", {"m": [("sys", "db")]}),
        (" m\tsys\vdb # comment\r\n", {"m": [("sys", "db")]}),
        ("m a b\nn c d\nm e f", {"m": [("a", "b"), ("e", "f")], "n": [("c", "d")]}),
        ("M a b\nm c d", {"M": [("a", "b")], "m": [("c", "d")]}),
        ("m sys all", {"m": [("sys", None)]}),
        ('m sys "all"', {"m": [("sys", "all")]}),
        ("m all x", {"m": [("all", "x")]}),
        ('m "a b, # ""c" "d e"', {"m": [('a b, # "c', "d e")]}),
        ('m sys "+x"\nm sys "/y"', {"m": [("sys", "+x"), ("sys", "/y")]}),
        ("m sys \\1", {"m": [("sys", "\\1")]}),
        ("m /^(.*)@x$ \\1", {"m": [("<regex>", "\\1")]}),
        ('m "/^(a{1,2}), b$" "\\1"', {"m": [("<regex>", "\\1")]}),
        ("m a/b c/d", {"m": [("a/b", "c/d")]}),
        ("m sys \\\n db\nm c d", {"m": [("sys", "db"), ("c", "d")]}),
        ("m müller \udcff", {"m": [("müller", "\udcff")]}),
    ],
)
def test_maps(text: str, maps: dict[str, list[tuple[str, str | None]]]) -> None:
    assert users(text) == maps


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("m", "the system user is missing"),
        ("m sys", "the database user is missing"),
        ("m sys , db", "the database user is missing before a comma"),
        ('"m" sys db', "the name of a map cannot be quoted"),
        ("m sys db more", "there is more than a map, a system user and a database user"),
        ("m sys all more", "there is more than a map, a system user and a database user"),
        ("m sys a,b", "there is more than a map, a system user and a database user"),
        ('m "sys db', "a quote is not closed"),
        ("m sys db\0", "there is a zero byte in this line"),
        ("m sys +group", 'groups are not supported here: quote "+group" if it is a name'),
        ("m sys /^db", 'regular expressions are not supported here: quote "/^db" if it is a name'),
        ("m / all", "the regular expression is empty"),
        ("m /( all", 'regular expression "(": a ( has no )'),
        ("m /^.*$ \\1", 'regular expression "/^.*$" has no group for \\1 in "\\1"'),
        ("m /(?:x) x\\1", 'regular expression "/(?:x)" has no group for \\1 in "x\\1"'),
    ],
)
def test_errors(line: str, message: str) -> None:
    maps = parse_ident_text(f"first a b\n{line}\nlast a b", "ident")
    assert [str(error) for error in maps.errors] == [f"ident:2: {message}"]
    assert sorted(maps.maps) == ["first", "last"]


def test_a_map_exists_by_its_name() -> None:
    maps = parse_ident_text("m a b\n", "ident")
    assert "m" in maps
    assert "M" not in maps
    assert "" not in maps


MAPS = r"""
plain    bouncer             app
plain    bouncer             reports
plain    other               all
quoted   bouncer             "all"
mail     /^(.*)@example\.com$      \1
mail     /^(.*)@guests\.example$   guest
part     /admin              all
twice    /^(.)(.)$           \1-\2-\1
choice   /^(a)|b$            x\1
literal  bouncer             \1
"""


@pytest.mark.parametrize(
    ("map_name", "system_user", "database_user", "allowed"),
    [
        ("plain", "bouncer", "app", True),
        ("plain", "bouncer", "reports", True),
        ("plain", "bouncer", "postgres", False),
        ("plain", "BOUNCER", "app", False),
        ("plain", "bouncer", "APP", False),
        ("plain", "other", "anybody", True),
        ("plain", "third", "app", False),
        ("none", "bouncer", "app", False),
        ("quoted", "bouncer", "all", True),
        ("quoted", "bouncer", "app", False),
        ("mail", "ann@example.com", "ann", True),
        ("mail", "ann@example.com", "bob", False),
        ("mail", "ann@example.com", "\\1", False),
        ("mail", "ann@exampleXcom", "ann", False),
        ("mail", "ann@example.com.evil", "ann", False),
        ("mail", "ann@example.com\n", "ann", False),
        ("mail", "all@example.com", "ann", False),
        ("mail", "@example.com", "", True),
        ("mail", "zoe@guests.example", "guest", True),
        ("mail", "zoe@guests.example", "zoe", False),
        ("part", "an-admin-of-all", "anybody", True),
        ("part", "nobody", "anybody", False),
        ("twice", "xy", r"x-\2-\1", True),
        ("twice", "xy", r"x-y-x", False),
        ("choice", "a", "xa", True),
        ("choice", "b", "x", False),
        ("choice", "b", "x\\1", False),
        ("literal", "bouncer", "\\1", True),
        ("literal", "bouncer", "bouncer", False),
    ],
)
def test_whom_a_map_lets_in(map_name: str, system_user: str, database_user: str, allowed: bool) -> None:
    maps = parse_ident_text(MAPS, "ident")
    assert maps.errors == ()
    assert maps.allows(map_name, system_user, database_user) is allowed


def test_a_nameless_system_user_gets_nowhere() -> None:
    maps = parse_ident_text('m "" all\nm /.* all\n', "ident")
    assert maps.errors == ()
    assert not maps.allows("m", "", "postgres")
    assert maps.allows("m", "x", "postgres")


def test_how_names_are_compared_can_be_chosen() -> None:
    maps = parse_ident_text("m Host.Example app\nm /^HOST$ app", "ident")

    def same(system_user: str, name: str) -> bool:
        return system_user.lower() == name.lower()

    assert maps.allows("m", "hOST.eXAMPLE", "app", same)
    assert not maps.allows("m", "hOST.eXAMPLE", "APP", same)
    assert not maps.allows("m", "other", "app", same)
    assert not maps.allows("m", "host", "app", same)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ident"
    path.write_bytes(b"m m\xfcller \xc3\xa4\r\n")
    assert parse_ident(str(path)) == IdentMaps({"m": (IdentLine("m\udcfcller", "ä"),)})


def test_a_broken_file_is_refused_with_all_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "ident"
    path.write_text("m\nm a b\nm /+ b\n")
    with pytest.raises(ConfigErrors) as caught:
        parse_ident(str(path))
    assert str(caught.value).splitlines() == [
        f"{path}:1: the system user is missing",
        f'{path}:3: regular expression "+": a quantifier has nothing to repeat',
    ]


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="No such file or directory"):
        parse_ident(str(tmp_path / "none"))


# Regular expressions -------------------------------------------------------------------------------------


def first_group(expression: str, name: str) -> str | None:
    """What the first group of an expression matches in a name; None if the name does not match."""
    return Regex(expression).expand(name, "\\1")


@pytest.mark.parametrize(
    ("expression", "matching", "others"),
    [
        ("ab", ["ab", "xaby"], ["a", "ba", "aB"]),
        ("^ab", ["ab", "abx"], ["xab"]),
        ("ab$", ["ab", "xab"], ["abx", "ab\n"]),
        ("^a.b$", ["axb", "a\nb", "aéb", "a\udcffb"], ["ab", "axxb"]),
        ("^a*b$", ["b", "ab", "aaab"], ["a", "aac"]),
        ("^a+b$", ["ab", "aaab"], ["b"]),
        ("^a?b$", ["b", "ab"], ["aab"]),
        ("^a{2}$", ["aa"], ["a", "aaa"]),
        ("^a{2,}$", ["aa", "aaaaa"], ["a"]),
        ("^a{1,3}$", ["a", "aa", "aaa"], ["", "aaaa"]),
        ("^a{0}b$", ["b"], ["ab"]),
        ("^a*?b+?$", ["b", "aabb"], ["a"]),
        ("^(ab|c|)$", ["ab", "c", ""], ["a", "abc"]),
        ("^(?:ab)+$", ["ab", "abab"], ["aba"]),
        ("^((a|b)c)*$", ["", "ac", "bcac"], ["a", "cc"]),
        ("^[abc]$", ["a", "c"], ["d", "ab"]),
        ("^[^abc]$", ["d", "^", "\n"], ["a"]),
        ("^[a-c0-9_-]+$", ["abc-19_"], ["d", "A"]),
        ("^[]a]+$", ["]", "a]"], ["["]),
        ("^[^]a]+$", ["[", "b"], ["]", "a"]),
        (r"^[\]\-\\a]+$", ["]-\\a"], ["b"]),
        ("^[.*+?(){|&~^$]+$", [".*+?(){|&~^$"], ["a"]),
        ("^[[:alpha:][:digit:].]+$", ["aZ09."], ["-", "é", "_"]),
        ("^[[:upper:]][[:lower:]][[:alnum:]][[:xdigit:]]$", ["AbcF", "Ab0f"], ["aBcf", "Abcg"]),
        ("^[[:space:]][[:blank:]]$", ["\n ", "\t\t"], ["\n\n"]),
        (r"^\d+\w\s$", ["12a ", "1_\t"], ["a ", "1- ", "٣a "]),
        (r"^\D\W\S$", ["a-b", "é b"], ["1-b", "aab", "a- "]),
        (r"^[\d\s]+$", ["1 2"], ["a", "٣"]),
        (r"^\é$", ["é"], ["e"]),
        ("^" + "(a)" * 30 + "$", ["a" * 30], ["a"]),
        (r"^a\.b\*\$\/\@$", ["a.b*$/@"], ["axb*$/@"]),
        ("^a{b}{,c}]$", ["a{b}{,c}]"], ["ab"]),
        ("^(^a$)$", ["a"], ["b"]),
        ("()", ["", "x"], []),
        ("^(a*)*$", ["", "aaa"], ["b"]),
        ("^é+$", ["éé"], ["e"]),
    ],
)
def test_what_matches(expression: str, matching: list[str], others: list[str]) -> None:
    regex = Regex(expression)
    assert [name for name in matching if regex.expand(name, "") is None] == []
    assert [name for name in others if regex.expand(name, "") is not None] == []


@pytest.mark.parametrize(
    ("expression", "name", "group"),
    [
        ("^(.*)@x$", "a@b@x", "a@b"),
        ("^(.*?)@", "a@b@x", "a"),
        ("^([^@]+)@", "a@b@x", "a"),
        ("(b+)", "abbbcbb", "bbb"),
        ("^(?:x)(.)(.)$", "xab", "a"),
        ("^((a)b)$", "ab", "ab"),
        ("^(a|ab)(b?)$", "ab", "a"),
        ("^(?:(.),)*$", "a,b,c,", "c"),
        ("^([a-z]{2}){2}$", "abcd", "cd"),
        ("^x()$", "x", ""),
        ("^(a)?b$", "b", None),
        ("^(a)|b$", "b", None),
    ],
)
def test_what_the_first_group_matches(expression: str, name: str, group: str | None) -> None:
    assert first_group(expression, name) == group


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("(a", "a ( has no )"),
        ("a)", "a ) has no ("),
        ("a|b)", "a ) has no ("),
        ("*a", "a quantifier has nothing to repeat"),
        ("a|+", "a quantifier has nothing to repeat"),
        ("(?", "only (?: is supported of what begins with (?"),
        ("(?=a)", "only (?: is supported of what begins with (?"),
        ("(?i)a", "only (?: is supported of what begins with (?"),
        ("***:a", "a quantifier has nothing to repeat"),
        ("{1}", "a quantifier has nothing to repeat"),
        ("a{1", "a quantifier has nothing to repeat"),
        ("a**", "two quantifiers follow each other"),
        ("a{1}{2}", "two quantifiers follow each other"),
        ("^*", "^ and $ cannot be repeated"),
        ("a{2,1}", "numbers of repetitions are not valid"),
        ("a{256}", "numbers of repetitions are not valid"),
        ("a{0,256}", "numbers of repetitions are not valid"),
        ("[a", "a [ has no ], or there is something in between that is not supported"),
        ("[^]", "a [ has no ], or there is something in between that is not supported"),
        ("[]", "a [ has no ], or there is something in between that is not supported"),
        ("[[.a.]]", "a [ has no ], or there is something in between that is not supported"),
        ("[[=a=]]", "a [ has no ], or there is something in between that is not supported"),
        ("[[:nothing:]]", 'there is no character class "nothing"'),
        ("[b-a]", "a range is not valid"),
        (r"[a-\d]", r'escape "\d" is not supported'),
        (r"[\b]", r'escape "\b" is not supported'),
        (r"(a)\1", r'escape "\1" is not supported'),
        (r"\ma", r'escape "\m" is not supported'),
        ("a\\", "it ends in a backslash"),
        ("(" * 21 + ")" * 21, "groups are nested too deeply"),
    ],
)
def test_what_is_no_expression(expression: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Regex(expression)
    assert str(caught.value) == f'regular expression "{expression}": {message}'


@pytest.mark.parametrize(
    "expression", ["(a{255}){3}", "(((a{200}){200}){200}){200}", "a" * (MAX_PROGRAM + 1)]
)
def test_an_expression_has_a_limit(expression: str) -> None:
    with pytest.raises(ValueError, match="the regular expression is too long"):
        Regex(expression)


def test_the_longest_expression() -> None:
    assert Regex("a" * MAX_PROGRAM).expand("a", "") is None
    assert Regex("^[a-z]{1,255}$").expand("a" * 255, "") == ""


@pytest.mark.parametrize(
    "expression",
    [
        r"^(([a-z]+\.?)+)@corp$",
        "(a+)+$",
        "(a|a)*b",
        "(((a*)*)*)*b",
        "(.*){20}b",
        "(a?){100}a{100}b",
        ".*.*.*.*.*.*.*.*.*.*b",
    ],
)
def test_no_expression_takes_for_ever(expression: str) -> None:
    """`re` would not come back from any of these: a test that fails does so by its time limit."""
    assert Regex(expression).expand("a" * 200 + "!", "") is None


def test_a_name_has_a_limit() -> None:
    regex = Regex("^a+$")
    assert regex.expand("a" * MAX_SYSTEM_USER, "") == ""
    assert regex.expand("a" * (MAX_SYSTEM_USER + 1), "") is None


atoms = st.sampled_from(["a", "b", ".", r"\.", "[ab]", "[^a]", "[a-c]", r"\w", r"\D", "@"])
quantifiers = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{2,}", "*?", "+?", "??", "{0,2}?"])
pieces = st.tuples(atoms, quantifiers).map("".join) | st.sampled_from("^$")
branches = st.lists(pieces, max_size=3).map("".join)
groups = st.tuples(
    st.sampled_from(["(", "(?:"]), st.lists(branches, min_size=1, max_size=3).map("|".join)
).map(lambda group: "".join((*group, ")")))
expressions = st.lists(groups | pieces, min_size=1, max_size=4).map("".join)


@given(expressions, st.lists(st.text("aabc.@\n1é", max_size=8)))
def test_matches_and_groups_are_those_of_re(expression: str, names: list[str]) -> None:
    """Without repeated groups, `re` is fast enough to be compared with."""
    regex = Regex(expression)
    peer = re.compile(expression.replace("$", r"\Z"), re.DOTALL | re.ASCII)
    for name in names:
        match = peer.search(name)
        assert regex.expand(name, "x") == (None if match is None else "x")
        if peer.groups:
            assert regex.expand(name, "<\\1>") == (
                f"<{match[1]}>" if match and match[1] is not None else None
            )


@given(st.text(r"ab.|()[]{}*+?^$\-:1,d", max_size=30), st.text("ab1", max_size=10))
def test_any_text_is_an_expression_or_a_value_error(text: str, name: str) -> None:
    with suppress(ValueError):
        assert Regex(text).expand(name, "x") in {None, "x"}


words = st.sampled_from(
    ["m", "n", "sys", "all", "\\1", "/(a)", "/[", "+g", '"', '"a b"', ",", "#", "\n", "\\\n", "\0"]
)


@given(st.lists(words | st.text(max_size=3), max_size=30).map(" ".join))
def test_any_text_is_maps_and_errors_with_their_lines(text: str) -> None:
    maps = parse_ident_text(text, "ident")
    last = text.count("\n") + 1
    assert all(error.line is not None and 1 <= error.line <= last for error in maps.errors)
    for name in maps.maps:
        maps.allows(name, "sys", "all")
