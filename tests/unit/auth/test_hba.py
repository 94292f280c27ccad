"""auth_hba_file: which lines are rules, which are errors, and which rule a client gets."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.auth.hba import (
    MAX_INCLUDE_DEPTH,
    HbaRule,
    HbaRules,
    Names,
    parse_hba,
    parse_hba_text,
)
from pooler.config.errors import ConfigErrors

MAPS = ("m1", "m2")


def parse(text: str, files: dict[str, str] | None = None) -> HbaRules:
    def read(path: str) -> str:
        if files is None or path not in files:
            raise ValueError(f"there is no {path}")
        return files[path]

    return parse_hba_text(text, "etc/hba", MAPS, read)


def column(names: Names) -> str:
    """Keywords in capitals, then names between quotes."""
    return ",".join([*sorted(word.upper() for word in names.keywords), *sorted(map(repr, names.names))])


def short(rule: HbaRule) -> str:
    """A rule as one line, so that a table of expectations can be read."""
    where = ""
    if rule.network is not None:
        address = ipaddress.IPv4Address if rule.network.version == 4 else ipaddress.IPv6Address
        where = f" {address(rule.network.base)}&{address(rule.network.mask)}"
    options = f" map={rule.map_name}" if rule.map_name is not None else ""
    options += f" clientcert={rule.clientcert.value}" if rule.clientcert else ""
    options += f" <{rule.ldap_options}>" if rule.ldap_options is not None else ""
    columns = f"{column(rule.databases)} {column(rule.users)}{where}"
    return f"{rule.line} {rule.connection_type.value} {columns} {rule.method.value}{options}"


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", []),
        (" \t\v\f\r\n# comment\n\t# another\n\r\n", []),
        ("local all all trust", ["1 local ALL ALL trust"]),
        ("\n \tlocal\tall all\r\v\ftrust \r\n", ["2 local ALL ALL trust"]),
        ("local a b peer # comment", ["1 local 'a' 'b' peer"]),
        ("local a b peer# comment", ["1 local 'a' 'b' peer"]),
        ("local a b peer#", ["1 local 'a' 'b' peer"]),
        # Lists.
        ("local a,b,c u1 , u2,u3\t,u1 md5", ["1 local 'a','b','c' 'u1','u2','u3' md5"]),
        ("local a,all,b all,x md5", ["1 local ALL,'a','b' ALL,'x' md5"]),
        (
            "local a,b,c,d,e,f,g,h,i,j,k u md5",
            ["1 local 'a','b','c','d','e','f','g','h','i','j','k' 'u' md5"],
        ),
        # Keywords and names.
        ("local sameuser,replication all md5", ["1 local REPLICATION,SAMEUSER ALL md5"]),
        ("local all replication,sameuser md5", ["1 local ALL SAMEUSER,'replication' md5"]),
        ('local "all","sameuser" "all" md5', ["1 local 'all','sameuser' 'all' md5"]),
        ('local "replication" "samerole" md5', ["1 local 'replication' 'samerole' md5"]),
        ('local all "+x","/y","@z" md5', ["1 local ALL '+x','/y','@z' md5"]),
        ("local ALL Replication md5", ["1 local 'ALL' 'Replication' md5"]),
        ('local "a""b" "c , d # e" md5', ["1 local 'a\"b' 'c , d # e' md5"]),
        ('local "" """" md5', ["1 local '' '\"' md5"]),
        ('local"a"b md5', ["1 local 'a' 'b' md5"]),
        ("local local host md5", ["1 local 'local' 'host' md5"]),
        ("local a=b c/d md5", ["1 local 'a=b' 'c/d' md5"]),
        ("local müller \udcff md5", ["1 local 'müller' '\\udcff' md5"]),
        ("local a\xa0b c md5", ["1 local 'a\\xa0b' 'c' md5"]),
        # Addresses.
        ("host a b all md5", ["1 host 'a' 'b' md5"]),
        ("host a b 10.0.0.0/8 md5", ["1 host 'a' 'b' 10.0.0.0&255.0.0.0 md5"]),
        ("host a b 10.0.0.0/008 md5", ["1 host 'a' 'b' 10.0.0.0&255.0.0.0 md5"]),
        ("host a b 0.0.0.0/0 md5", ["1 host 'a' 'b' 0.0.0.0&0.0.0.0 md5"]),
        ("host a b 1.2.3.4/32 md5", ["1 host 'a' 'b' 1.2.3.4&255.255.255.255 md5"]),
        ("host a b 10.0.2.0 255.0.255.0 md5", ["1 host 'a' 'b' 10.0.2.0&255.0.255.0 md5"]),
        ("host a b FE80::/10 md5", ["1 host 'a' 'b' fe80::&ffc0:: md5"]),
        ("host a b ::/0 md5", ["1 host 'a' 'b' ::&:: md5"]),
        ("host a b fe80:: ffff:: md5", ["1 host 'a' 'b' fe80::&ffff:: md5"]),
        ("host a b ::10.0.0.0 ::ff00:0 md5", ["1 host 'a' 'b' ::a00:0&::ff00:0 md5"]),
        # Types and methods.
        ("hostssl a b all cert", ["1 hostssl 'a' 'b' cert"]),
        ("hostnossl a b all password", ["1 hostnossl 'a' 'b' password"]),
        ("host a b all reject", ["1 host 'a' 'b' reject"]),
        ("host a b all scram-sha-256", ["1 host 'a' 'b' scram-sha-256"]),
        # Options.
        ("local a b peer map=m1", ["1 local 'a' 'b' peer map=m1"]),
        ("local a b md5 map=m2#x", ["1 local 'a' 'b' md5 map=m2"]),
        ("hostssl a b all md5 clientcert=verify-ca", ["1 hostssl 'a' 'b' md5 clientcert=verify-ca"]),
        (
            "hostssl a b all cert clientcert=verify-full map=m1",
            ["1 hostssl 'a' 'b' cert map=m1 clientcert=verify-full"],
        ),
        ("host a b all ldap", ["1 host 'a' 'b' ldap <>"]),
        ('host a b all ldap x="y # z", "w"=1 # v\t\n', ["1 host 'a' 'b' ldap <x=\"y # z\", \"w\"=1 # v>"]),
        ('host a b all ldap,x="', ["1 host 'a' 'b' ldap <,x=\">"]),
        (
            'hostssl a b all ldap x="clientcert=no", clientcert=verify-full, y=1 # clientcert=no',
            ["1 hostssl 'a' 'b' ldap clientcert=verify-full <x=\"clientcert=no\", , y=1 # clientcert=no>"],
        ),
        # Continued lines.
        ("local a\\\n,b u md5\nlocal c d md5", ["1 local 'a','b' 'u' md5", "3 local 'c' 'd' md5"]),
        ("\nlocal \\\r\n a b \\\r\n md5\r\n", ["2 local 'a' 'b' md5"]),
        ("local a b md5 # c:\\\nlocal c d md5", ["1 local 'a' 'b' md5", "2 local 'c' 'd' md5"]),
        ('local "a#" b \\\n md5', ["1 local 'a#' 'b' md5"]),
        ("local a\\b c md5\\", ["1 local 'a\\\\b' 'c' md5"]),
    ],
)
def test_rules(text: str, rules: list[str]) -> None:
    parsed = parse(text)
    assert parsed.errors == ()
    assert parsed.warnings == ()
    assert [short(rule) for rule in parsed.rules] == rules


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hots all all all md5", 'unknown connection type "hots"'),
        ("LOCAL all all md5", 'unknown connection type "LOCAL"'),
        ("hostgssenc all all all md5", 'unknown connection type "hostgssenc"'),
        ("\ufefflocal all all md5", 'unknown connection type "\\ufefflocal"'),
        ('"local" all all md5', "a connection type cannot be quoted"),
        (",", "a connection type is missing before a comma"),
        ("local", "the name of a database is missing"),
        ("local all", "the name of a user is missing"),
        ("local a,,b all md5", "the name of a database is missing before a comma"),
        ("local all , all", "the name of a user is missing"),
        ("local all all", "an authentication method is missing"),
        ('local all "all md5', "a quote is not closed"),
        ('local all all md5 "', "a quote is not closed"),
        ("local all all\0 md5", "there is a zero byte in this line"),
        ("local samerole all md5", "samerole is not supported"),
        ("local all samegroup md5", "samegroup is not supported"),
        ("local all +dba md5", 'groups are not supported here: quote "+dba" if it is a name'),
        ("local /^db all md5", 'regular expressions are not supported here: quote "/^db" if it is a name'),
        ("local all @ md5", "there is no file name after @"),
        ("local all @none md5", "there is no etc/none"),
        ("host all all", "an address is missing"),
        ("host all all md5", '"md5" is not an IP address, nor all'),
        ("host all all samehost md5", '"samehost" is not an IP address, nor all'),
        ("host all all .example.com md5", '".example.com" is not an IP address, nor all'),
        ("host all all 10.0.0/8 md5", '"10.0.0" is not an IP address, nor all'),
        ("host all all 010.0.0.0/8 md5", '"010.0.0.0" is not an IP address, nor all'),
        ("host all all fe80::1%eth0/128 md5", '"fe80::1%eth0" is not an IP address, nor all'),
        ('host all all "all" md5', "an address cannot be quoted"),
        ("host all all 10.0.0.0/33 md5", 'invalid mask "/33": it has 0 to 32 bits'),
        ("host all all 10.0.0.0/ md5", 'invalid mask "/": it has 0 to 32 bits'),
        ("host all all 10.0.0.0/8/8 md5", 'invalid mask "/8/8": it has 0 to 32 bits'),
        ("host all all 10.0.0.0/٨ md5", 'invalid mask "/٨": it has 0 to 32 bits'),
        ("host all all ::/129 md5", 'invalid mask "/129": it has 0 to 128 bits'),
        ("host all all 10.0.0.1", "a netmask (or /BITS after the address) is missing"),
        ("host all all 10.0.0.1 md5", '"md5" is not a netmask of IPv4'),
        ("host all all 10.0.0.1 ffff:: md5", '"ffff::" is not a netmask of IPv4'),
        ("host all all ::1 255.0.0.0 md5", '"255.0.0.0" is not a netmask of IPv6'),
        ("local all all 10.0.0.0/8 md5", 'unsupported authentication method "10.0.0.0/8"'),
        ("local all all MD5", 'unsupported authentication method "MD5"'),
        ("local all all ident", 'unsupported authentication method "ident"'),
        ("local all all pam", 'unsupported authentication method "pam": it is a value of auth_type only'),
        ('local all all "md5"', "an authentication method cannot be quoted"),
        ("local all all md5,", "an option is missing before a comma"),
        ('local all all md5 "map=m1"', "an option cannot be quoted"),
        ("local all all md5 sesame", "an option is not of the form NAME=VALUE"),
        ("local all all md5 ldapbindpasswd=sesame", 'unsupported option "ldapbindpasswd"'),
        ("local all all peer map=m3", 'map "m3" is not in auth_ident_file'),
        ("local all all peer map=", 'map "" is not in auth_ident_file'),
        ('local all all peer map="m1"', "an option cannot be quoted"),
        ("local all all peer map=m1 map=m2", "option map is given twice"),
        ("host all all all md5 clientcert=verify-ca", "clientcert is an option of hostssl only"),
        ("hostssl all all all md5 clientcert=1", "clientcert is verify-ca or verify-full"),
        ("hostssl all all all ldap clientcert=1", "clientcert is verify-ca or verify-full"),
        ("host all all all ldap x=1 clientcert=verify-ca", "clientcert is an option of hostssl only"),
        (
            "hostssl all all all ldap clientcert=verify-ca clientcert=verify-full",
            "option clientcert is given twice",
        ),
        (
            "hostssl all all all cert clientcert=verify-ca",
            "clientcert can only be verify-full with the method cert",
        ),
        ("x" * 100, 'unknown connection type "' + "x" * 61 + '..."'),
    ],
)
def test_errors(line: str, message: str) -> None:
    parsed = parse(f"local first all trust\n{line}\nlocal last all trust")
    assert [str(error) for error in parsed.errors] == [f"etc/hba:2: {message}"]
    assert [rule.line for rule in parsed.rules] == [1, 3]


def test_every_broken_line_is_an_error() -> None:
    parsed = parse("local all\nhost all all\n\nlocal a b md5\nx\n")
    assert [error.line for error in parsed.errors] == [1, 2, 5]
    assert [rule.line for rule in parsed.rules] == [4]


def test_an_address_with_bits_outside_its_mask_is_a_rule_that_never_applies() -> None:
    parsed = parse("host all all 192.168.1.1/24 reject\nhost all all all md5")
    assert parsed.errors == ()
    assert [str(warning) for warning in parsed.warnings] == [
        "etc/hba:1: address does not match mask, this rule never applies: 192.168.1.1 / 255.255.255.0"
    ]
    assert found(parsed, "192.168.1.1") == 2
    assert found(parsed, "192.168.1.0") == 2


def test_passwords_stay_out_of_reprs_and_errors() -> None:
    parsed = parse(
        "host all all all ldap ldapbindpasswd=sesame\n"
        "host all all all md5 ldapbindpasswd=sesame\n"
        'host all all all md5 map="sesame\n'
        "host all all all md5 sesame\n"
        "host all all all ldapbindpasswd=sesame\n"
        "host all all ldapbindpasswd=sesame\n"
        "host all all 10.0.0.1 ldapbindpasswd=sesame\n"
        "ldapbindpasswd=sesame\n"
    )
    assert parsed.rules[0].ldap_options == "ldapbindpasswd=sesame"
    assert [error.line for error in parsed.errors] == [2, 3, 4, 5, 6, 7, 8]
    assert "sesame" not in repr(parsed)


# Which rule a client gets --------------------------------------------------------------------------------


def found(
    rules: HbaRules,
    address: str,
    tls: bool = False,
    replication: bool = False,
    database: str = "db",
    user: str = "user",
) -> int | None:
    """The line of the rule for a client; its address is `unix` for a unix socket."""
    ip = None if address == "unix" else ipaddress.ip_address(address)
    rule = rules.find(ip, tls, replication, database, user)
    return None if rule is None else rule.line


def test_no_rules_fit_nobody() -> None:
    assert found(parse(""), "unix") is None
    assert found(parse(""), "10.0.0.1") is None


def test_the_first_rule_that_fits_decides() -> None:
    rules = parse("host db other all md5\nhost db user all reject\nhost all all all trust")
    assert found(rules, "10.0.0.1") == 2
    assert found(rules, "10.0.0.1", user="third") == 3


@pytest.mark.parametrize(
    ("address", "tls", "line"),
    [
        ("unix", False, 1),
        ("unix", True, 1),
        ("10.0.0.1", False, 3),
        ("10.0.0.1", True, 2),
        ("10.9.0.1", False, 4),
        ("10.9.0.1", True, 4),
        ("::1", False, 5),
        ("::1", True, None),
        ("11.0.0.1", False, 5),
        ("11.0.0.1", True, None),
    ],
)
def test_connection_types(address: str, tls: bool, line: int | None) -> None:
    rules = parse(
        "local all all peer\n"
        "hostssl all all 10.0.0.0/24 cert\n"
        "hostnossl all all 10.0.0.0/24 md5\n"
        "host all all 10.9.0.0/16 md5\n"
        "hostnossl all all all md5\n"
    )
    assert found(rules, address, tls) == line


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        ("all", ["0.0.0.0", "255.255.255.255", "::", "fe80::1", "::ffff:1.2.3.4"], ["unix"]),
        ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255"], ["::", "::1", "::ffff:1.2.3.4", "unix"]),
        ("::/0", ["::", "ffff::", "::ffff:1.2.3.4"], ["0.0.0.0", "127.0.0.1", "unix"]),
        ("10.1.2.3/32", ["10.1.2.3"], ["10.1.2.2", "10.1.2.4", "::ffff:10.1.2.3", "::10.1.2.3"]),
        ("10.1.2.0/23", ["10.1.2.0", "10.1.3.255"], ["10.1.1.255", "10.1.4.0"]),
        ("10.1.2.0 255.255.254.0", ["10.1.2.0", "10.1.3.255"], ["10.1.1.255", "10.1.4.0"]),
        ("10.0.2.0 255.0.255.0", ["10.7.2.9", "10.255.2.0"], ["10.7.3.9", "11.7.2.9"]),
        ("fe80::/10", ["fe80::1", "febf::", "fe80::1%eth0"], ["fec0::", "fe40::"]),
        ("2001:db8::1/128", ["2001:db8::1"], ["2001:db8::2", "::1"]),
        ("::ffff:10.0.0.0/104", ["::ffff:10.1.2.3"], ["10.1.2.3", "::ffff:11.1.2.3"]),
    ],
)
def test_addresses(networks: str, inside: list[str], outside: list[str]) -> None:
    rules = parse(f"host all all {networks} md5")
    assert [address for address in inside if found(rules, address) is None] == []
    assert [address for address in outside if found(rules, address) is not None] == []


@pytest.mark.parametrize(
    ("columns", "database", "user", "fits"),
    [
        ("db user", "db", "user", True),
        ("db user", "DB", "user", False),
        ("db user", "d", "user", False),
        ("a,db,c x,user", "db", "user", True),
        ("all user", "anything", "user", True),
        ("db all", "db", "anybody", True),
        ('"all" all', "db", "user", False),
        ('"all" all', "all", "user", True),
        ("sameuser all", "same", "same", True),
        ("sameuser all", "db", "user", False),
        ("sameuser all", "sameuser", "user", False),
        ("sameuser,db all", "db", "user", True),
        ("all sameuser", "same", "same", True),
        ("all sameuser", "db", "sameuser", False),
        ("all replication", "db", "replication", True),
        ("replication all", "replication", "user", False),
        ('"replication" all', "replication", "user", True),
    ],
)
def test_databases_and_users(columns: str, database: str, user: str, fits: bool) -> None:
    rules = parse(f"local {columns} md5")
    assert rules.errors == ()
    assert (found(rules, "unix", database=database, user=user) == 1) is fits


@pytest.mark.parametrize(
    ("columns", "fits"),
    [
        ("replication user", True),
        ("other,replication all", True),
        ("replication other", False),
        ("all all", False),
        ("db user", False),
        ('"replication" all', False),
        ("sameuser all", False),
    ],
)
def test_physical_replication_needs_the_keyword(columns: str, fits: bool) -> None:
    rules = parse(f"host {columns} all md5")
    for database in ("db", "replication", "user"):
        assert (found(rules, "::1", replication=True, database=database) == 1) is fits


# Files ---------------------------------------------------------------------------------------------------


def test_names_in_files() -> None:
    files = {
        "etc/names": '# comment\n\n a , "b c" # comment\r\n\tall\n@sub/more\n"@sub/none"',
        "etc/sub/more": "d,@deep,sameuser",
        "etc/sub/deep": "e\\\n,f\n",
        "/abs": "x\n",
        "etc/empty": "",
    }
    parsed = parse("local @names,z @/abs md5\nlocal all @empty md5", files)
    assert parsed.errors == ()
    assert [short(rule) for rule in parsed.rules] == [
        "1 local ALL,SAMEUSER,'@sub/none','a','b c','d','e','f','z' 'x' md5",
        "2 local ALL  md5",
    ]
    assert found(parsed, "unix", user="anybody") is None


def test_errors_in_files_of_names_have_their_place_and_cost_the_rule() -> None:
    files = {"etc/names": 'a b\nc,\nsamerole\nfine\n"\n@none'}
    parsed = parse("local @names all md5\nlocal all u md5\nlocal @names all trust", files)
    assert [str(error) for error in parsed.errors] == [
        "etc/names:1: a comma or the end of the line was expected",
        "etc/names:2: the name of a database is missing",
        "etc/names:3: samerole is not supported",
        "etc/names:5: a quote is not closed",
        "etc/names:6: there is no etc/none",
    ]
    assert [rule.line for rule in parsed.rules] == [2]


@pytest.mark.parametrize("times", [1, 30])
def test_a_file_of_names_that_includes_itself_is_an_error(times: int) -> None:
    parsed = parse("local @names all md5", {"etc/names": "a\n" + ",".join(["@names"] * times)})
    message = '"@names" includes itself or is nested too deeply'
    assert [str(error) for error in parsed.errors] == [f"etc/names:2: {message}"]


@pytest.mark.parametrize(("depth", "errors"), [(MAX_INCLUDE_DEPTH, 0), (MAX_INCLUDE_DEPTH + 1, 1)])
def test_files_of_names_are_nested_to_a_depth(depth: int, errors: int) -> None:
    files = {f"etc/{level}": f"@{level + 1}" for level in range(1, depth)}
    parsed = parse("local @1 all md5", files | {f"etc/{depth}": "deep"})
    assert len(parsed.errors) == errors
    assert [column(rule.databases) for rule in parsed.rules] == ["'deep'"] * (1 - errors)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hba"
    path.write_bytes(b"local m\xfcller @names md5\r\n")
    (tmp_path / "names").write_bytes(b"\xc3\xa4\n")
    assert [short(rule) for rule in parse_hba(str(path)).rules] == ["1 local 'm\\udcfcller' 'ä' md5"]


def test_a_broken_file_is_refused_with_all_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "hba"
    path.write_text("local all all md5\nlocal all @none md5\nlocal all all peer map=m\n")
    with pytest.raises(ConfigErrors) as caught:
        parse_hba(str(path))
    assert str(caught.value).splitlines() == [
        f'{path}:2: could not load file "{tmp_path}/none": No such file or directory',
        f'{path}:3: map "m" is not in auth_ident_file',
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none", "No such file or directory"), (".", "Is a directory"), ("a\0b", "not a file name")],
)
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ConfigErrors, match=reason):
        parse_hba(f"{tmp_path}/{name}")


def test_very_long_lines() -> None:
    names = [f"user{number}" for number in range(100_000)]
    parsed = parse(
        f"local all {' , '.join(names)} md5\nlocal all {'x' * 1_000_000} md5\n" + "local " * 100_000
    )
    assert parsed.rules[0].users.names == frozenset(names)
    assert parsed.rules[1].users.names == {"x" * 1_000_000}
    assert [len(str(error)) < 200 for error in parsed.errors] == [True]


# Any text ------------------------------------------------------------------------------------------------

words = st.sampled_from(
    [
        *("local", "host", "hostssl", "all", "sameuser", "replication", "@f", "@g", "a", '"b c"', "+d"),
        *(
            "10.0.0.0/8",
            "::1",
            "ffff::",
            "255.0.0.0",
            "md5",
            "cert",
            "ldap",
            "map=m1",
            "clientcert=verify-full",
        ),
        *(",", " ", "\t", "\n", "\\\n", "\r\n", "#", '"', "\0", "/", "%", "\udc80"),
    ]
)
texts = st.lists(words | st.text(max_size=3), max_size=40).map(" ".join) | st.lists(words).map("".join)


@given(texts, texts)
def test_any_text_is_rules_and_errors_with_their_lines(text: str, names: str) -> None:
    parsed = parse(text, {"etc/f": names, "etc/g": "g"})
    last = text.count("\n") + 1
    lines = [rule.line for rule in parsed.rules]
    assert lines == sorted(set(lines))
    assert all(1 <= line <= last for line in lines)
    own = {error.line for error in parsed.errors if error.file == "etc/hba"}
    assert own.isdisjoint(lines)
    assert all(
        error.line is not None and 1 <= error.line <= names.count("\n") + last for error in parsed.errors
    )
    for address in ("unix", "10.0.0.1", "::1"):
        assert found(parsed, address, True) in {None, *lines}
    repr(parsed).encode("utf-8", "surrogateescape")


@given(st.lists(st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"])), min_size=1))
def test_quoted_names_come_back(names: list[str]) -> None:
    quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    parsed = parse(f"local {quoted} {quoted} md5")
    assert parsed.errors == ()
    assert parsed.rules[0].databases == parsed.rules[0].users == Names(frozenset(names))


@given(st.ip_addresses(), st.ip_addresses(), st.data())
def test_networks_hold_the_addresses_that_they_should(
    base: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    data: st.DataObject,
) -> None:
    length = data.draw(st.integers(0, base.max_prefixlen))
    network = ipaddress.ip_network((base, length), strict=False)
    for mask in (f"/{length}", f" {network.netmask}"):
        rules = parse(f"host all all {network.network_address}{mask} md5")
        assert found(rules, str(base)) == 1
        assert (found(rules, str(other)) == 1) is (other in network)
