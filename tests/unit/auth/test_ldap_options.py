"""The options of `auth_ldap_options` and of HBA lines with the method ldap."""

import re
from contextlib import suppress
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pooler.auth.ldap_options import LdapOptions, LdapOptionsError

SIMPLE = 'ldapserver=h ldapprefix="uid=" ldapsuffix=",dc=example,dc=net"'
SEARCH = 'ldapserver=h ldapbasedn="dc=example,dc=net"'
SECRET = "hunter2"

NAMES = [
    "ldapbasedn",
    "ldapbinddn",
    "ldapbindpasswd",
    "ldapport",
    "ldapprefix",
    "ldapscheme",
    "ldapsearchattribute",
    "ldapsearchfilter",
    "ldapserver",
    "ldapsuffix",
    "ldaptls",
    "ldapurl",
]


LEAST = LdapOptions(
    scheme="ldap",
    servers=("h",),
    port=389,
    start_tls=False,
    prefix="",
    suffix="",
    base_dn=None,
    scope="SUBTREE",
    search_filter="(uid=$username)",
    bind_dn="",
    bind_password="",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SIMPLE, replace(LEAST, prefix="uid=", suffix=",dc=example,dc=net")),
        (SEARCH, replace(LEAST, base_dn="dc=example,dc=net")),
        (
            'ldapserver="a b  c" ldapport=3890 ldaptls=1 ldapbasedn="dc=x" ldapbinddn="cn=m"'
            ' ldapbindpasswd="p ,""q" ldapsearchattribute=mail',
            replace(
                LEAST,
                servers=("a", "b", "c"),
                port=3890,
                start_tls=True,
                base_dn="dc=x",
                search_filter="(mail=$username)",
                bind_dn="cn=m",
                bind_password='p ,"q',
            ),
        ),
        (
            'ldapurl="ldaps://H:6360/dc=a%2cdc=b?mail,uid?one"',
            replace(
                LEAST,
                scheme="ldaps",
                servers=("H",),
                port=6360,
                base_dn="dc=a,dc=b",
                scope="LEVEL",
                search_filter="(mail=$username)",
            ),
        ),
        (
            'ldapurl="ldap://h/dc=a??sub?(|(uid=$username)(mail=$username))"',
            replace(LEAST, base_dn="dc=a", search_filter="(|(uid=$username)(mail=$username))"),
        ),
    ],
)
def test_options_are_read_as_pgbouncer_reads_them(text: str, expected: LdapOptions) -> None:
    assert LdapOptions.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        # Between options: white space, one comma, or both; anything at all behind a quoted value.
        (' ldapserver=h,ldapbasedn="dc=a" , ldapport=1\n', "port", 1),
        ('ldapserver=h ldapbasedn="dc=a"ldapport=1', "port", 1),
        ('ldapserver=h "ldapbasedn"="dc=a" "ldapport"=1', "port", 1),
        ('ldapserver=h ldapbasedn="dc=a" # ldapport=1', "port", 389),
        # The last one counts, and what a URL leaves out is not touched by it.
        (SEARCH + " ldapport=1 ldapport=2", "port", 2),
        ('ldapserver=a ldapurl="ldap://b/dc=a"', "servers", ("b",)),
        ('ldapurl="ldap://b/dc=a" ldapserver=a', "servers", ("a",)),
        ('ldapserver=a ldapurl="ldap:///dc=a"', "servers", ("a",)),
        ('ldapurl="ldaps://b/dc=a" ldapscheme=ldap', "port", 636),
        ('ldapport=1 ldapurl="ldap://b/dc=a"', "port", 389),
        ('ldapurl="ldap://h" ldapsuffix="@x"', "base_dn", None),
        ('ldapurl="ldap://h/"', "base_dn", ""),
        # A URL without a scope means the base alone, everything else the whole tree.
        ('ldapurl="ldap://h/dc=a?uid"', "scope", "BASE"),
        ('ldapurl="ldap://h/dc=a?uid?SUB"', "scope", "SUBTREE"),
        ('ldapurl="ldap://h/dc=a?uid?base"', "scope", "BASE"),
        (SEARCH, "scope", "SUBTREE"),
        (SEARCH + " ldapscheme=ldaps", "port", 636),
        (SEARCH + " ldaptls=0", "start_tls", False),
        ('ldapserver="::1 [::2] 127.0.0.1" ldapbasedn="dc=a"', "servers", ("::1", "::2", "127.0.0.1")),
        ('ldapurl="ldap://[::1]:12/dc=a"', "servers", ("::1",)),
        (SEARCH + ' ldapsearchfilter="uid=$username"', "search_filter", "(uid=$username)"),
        (
            SEARCH + ' ldapsearchfilter="(& (uid=$username) (!(a:dn:2.5.13.1:=b)) )"',
            "search_filter",
            "(& (uid=$username) (!(a:dn:2.5.13.1:=b)) )",
        ),
        ('ldapurl="ldap://h/dc=a??sub?(cn=%c3%a4\\2a*)"', "search_filter", "(cn=ä\\2a*)"),
        ('ldapserver=h ldapprefix="" ldapsuffix="@x"', "prefix", ""),
        ('ldapbasedn="ou=x, DC = foo,dc=bar"', "servers", ()),
    ],
)
def test_one_option(text: str, field: str, value: object) -> None:
    assert getattr(LdapOptions.parse(text), field) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", '"ldapbasedn", "ldapprefix", or "ldapsuffix" has to be set'),
        ('ldapurl="ldap://h"', '"ldapbasedn", "ldapprefix", or "ldapsuffix" has to be set'),
        (SIMPLE + ' ldapbasedn="dc=a"', "cannot mix options for simple bind and search+bind modes"),
        (SIMPLE + ' ldapurl="ldap://h/"', "cannot mix options for simple bind and search+bind modes"),
        (SEARCH + ' ldapsuffix="x"', "cannot mix options for simple bind and search+bind modes"),
        (
            SEARCH + ' ldapsearchattribute=uid ldapsearchfilter="(uid=$username)"',
            "cannot use ldapsearchattribute together with ldapsearchfilter",
        ),
        ('ldapprefix="uid="', "ldapserver is not set, and ldapbasedn has no dc= to look servers up with"),
        ('ldapbasedn="o=x"', "ldapserver is not set, and ldapbasedn has no dc= to look servers up with"),
        (SEARCH + ' ldapbinddn="cn=m"', "ldapbinddn and ldapbindpasswd need each other"),
        (SEARCH + f" ldapbindpasswd={SECRET}", "ldapbinddn and ldapbindpasswd need each other"),
        (SEARCH + " ldaptls=yes", "invalid ldaptls: expected 0 or 1"),
        (SEARCH + " ldapscheme=ldapi", "invalid ldapscheme: expected ldap or ldaps"),
        (SEARCH + " ldapport=0", "invalid LDAP port number"),
        (SEARCH + " ldapport=65536", "invalid LDAP port number"),
        (SEARCH + " ldapport=x", "invalid LDAP port number"),
        (SEARCH + " ldapport=\u0661", "invalid LDAP port number"),
        ('ldapurl="ldap://h:0/dc=a"', "invalid LDAP port number"),
        (SEARCH + " ldapbindpassword=x", 'invalid LDAP option: "ldapbindpassword"'),
        (SEARCH + f" ldapbinddn=x ldapbindpasswd=a,{SECRET}=x", "invalid LDAP option: at character 75"),
        (SEARCH + " ldapport", "invalid LDAP options: expected name=value at character 45"),
        (SEARCH + " ldapport =1", "invalid LDAP options: expected name=value at character 45"),
        (SEARCH + ",,ldapport=1", "invalid LDAP options: expected name=value at character 45"),
        (
            SEARCH + " ldapport= 1",
            "invalid LDAP options: no value, or one without closing quote, at character 54",
        ),
        (
            SEARCH + f' ldapbindpasswd="{SECRET}',
            "invalid LDAP options: no value, or one without closing quote, at character 60",
        ),
        (SEARCH + " ldapsearchattribute=u*d", "invalid ldapsearchattribute"),
        (SEARCH + ' ldapsearchfilter="(uid=$username"', "invalid LDAP search filter"),
        (SEARCH + ' ldapsearchfilter="(uid=$username))"', "invalid LDAP search filter"),
        (SEARCH + ' ldapsearchfilter="(a=b)(c=d)"', "invalid LDAP search filter"),
        (SEARCH + ' ldapsearchfilter="(&)"', "invalid LDAP search filter"),
        (SEARCH + ' ldapsearchfilter="(a=\\2)"', "invalid LDAP search filter"),
        (SEARCH + ' ldapsearchfilter="\0"', "invalid LDAP search filter"),
        (SEARCH + ' ldapsearchfilter="uid"', "invalid LDAP search filter"),
        (
            'ldapserver="a:389" ldapbasedn="dc=a"',
            "invalid ldapserver: expected names or addresses with spaces between, and no ports",
        ),
        (
            "ldapserver=ldap://h ldapbasedn=dc=a",
            "invalid ldapserver: expected names or addresses with spaces between, and no ports",
        ),
        ('ldapurl="ldap://h/dc=a?uid?tree"', "invalid scope in ldapurl: expected base, one or sub"),
        (
            'ldapurl="ldapi://h/dc=a"',
            "ldapurl is not of the form ldap[s]://host[:port]/dn?attribute?scope?filter",
        ),
        (
            f'ldapurl="ldap://h/dc=a????!bindname={SECRET}"',
            "ldapurl is not of the form ldap[s]://host[:port]/dn?attribute?scope?filter",
        ),
        ('ldapurl="ldap://h/dc=%ff"', "ldapurl is not UTF-8"),
        (SEARCH + " ldapbinddn=\udcff", "LDAP options are not UTF-8"),
    ],
)
def test_a_mistake_is_told_without_any_value(text: str, message: str) -> None:
    with pytest.raises(LdapOptionsError) as raised:
        LdapOptions.parse(text)
    assert str(raised.value) == message


def test_the_bind_password_is_not_in_the_repr_and_options_do_not_change() -> None:
    options = LdapOptions.parse(f'{SEARCH} ldapbinddn="cn=m" ldapbindpasswd={SECRET}')
    assert options.bind_password == SECRET
    assert SECRET not in repr(options)
    with pytest.raises(FrozenInstanceError):
        options.bind_password = ""  # type: ignore[misc]


@pytest.mark.parametrize(
    ("base", "domain"),
    [
        ("dc=example,dc=net", "example.net"),
        ("ou=people, o=x,DC = foo , dc=bar", "foo.bar"),
        ("dc=foo,o=x,dc=bar", "bar"),
        ("dc=foo,dc=b\\2cr", ""),
        ("o=x", ""),
        ("", ""),
    ],
)
def test_the_domain_is_what_the_base_dn_ends_in(base: str, domain: str) -> None:
    assert LdapOptions.parse(f'ldapserver=h ldapbasedn="{base}"').domain == domain


@pytest.mark.parametrize(
    ("user", "escaped"),
    [
        ("alice", "alice"),
        ("a.b-c_d@e$", "a.b-c_d@e$"),
        ("bob,ou=other", "bob\\2cou\\3dother"),
        ("*", "\\2a"),
        ("x)(uid=*", "x\\29\\28uid\\3d\\2a"),
        (" #a\\", "\\20\\23a\\5c"),
        ("ä", "\\c3\\a4"),
        ("a\0b", "a\\00b"),
    ],
)
def test_a_user_name_is_one_value_in_a_dn_and_in_a_filter(user: str, escaped: str) -> None:
    assert LdapOptions.parse(SIMPLE).bind_name(user) == f"uid={escaped},dc=example,dc=net"
    options = LdapOptions.parse(SEARCH + ' ldapsearchfilter="(|(uid=$username)(cn=$username))"')
    assert options.filter_for(user) == f"(|(uid={escaped})(cn={escaped}))"


@pytest.mark.parametrize(("prefix", "suffix"), [("", "@example.net"), ("EXAMPLE\\", ""), ("", "")])
def test_a_name_that_is_no_dn_is_left_alone(prefix: str, suffix: str) -> None:
    options = LdapOptions.parse(f'ldapserver=h ldapprefix="{prefix}" ldapsuffix="{suffix}"')
    assert options.bind_name("o'neil, x") == f"{prefix}o'neil, x{suffix}"


@given(st.text())
def test_no_user_name_leaves_its_value(user: str) -> None:
    name = LdapOptions.parse(SIMPLE).bind_name(user)
    value = name.removeprefix("uid=").removesuffix(",dc=example,dc=net")
    assert re.fullmatch(r"(?:[A-Za-z0-9_.@$-]|\\[0-9a-f]{2})*", value)
    raw = re.sub(rb"\\([0-9a-f]{2})", lambda found: bytes.fromhex(found[1].decode()), value.encode())
    assert raw.decode() == user


PIECES = st.one_of(
    st.sampled_from(
        [*NAMES, "=", '"', '""', " ", ",", "#", "\\", "ldap://h/dc=a?uid?sub?(a=b)", "h", "1", "(a=b)"]
    ),
    st.text(max_size=4),
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=20).map("".join)))
@example('ldapserver=h ldapbasedn="dc=a" ldapsearchfilter="' + "(!" * 500 + "(a=b)" + ")" * 500 + '"')
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(LdapOptionsError):
        LdapOptions.parse(text)


@given(
    st.sampled_from(NAMES), st.sampled_from(["{}", '"{}"', '"{}', '"{}"x', "{} x", "{}=x,", "a,{}=x", "a {}"])
)
def test_no_refusal_shows_a_password(name: str, form: str) -> None:
    with pytest.raises(LdapOptionsError) as raised:
        LdapOptions.parse(f"{name}={form.format(SECRET)} ldaptls=maybe")
    assert SECRET not in str(raised.value)


VALUE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(VALUE, VALUE, VALUE)
def test_quoted_values_may_hold_anything(base: str, bind_dn: str, password: str) -> None:
    def quoted(value: str) -> str:
        doubled = value.replace('"', '""')
        return f'"{doubled}"'

    options = LdapOptions.parse(
        f"ldapserver=h ldapbasedn={quoted(base)}"
        f" ldapbinddn={quoted(bind_dn)},ldapbindpasswd={quoted(password)}"
    )
    assert (options.base_dn, options.bind_dn, options.bind_password) == (base, bind_dn, password)
