"""LDAP logins as the worker threads check them: a real slapd, and directories that misbehave."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import dns.rrset
import ldap3
import pytest

from pooler.auth.ldap import LdapClient, find_ldap_servers
from pooler.auth.ldap_options import LdapOptions
from tests.support.certificates import Authority
from tests.support.external import HERE, SEARCH, SIMPLE, Answer, ask, external_auth, filled, login, run
from tests.support.slapd import (
    BASE,
    MANAGER,
    MANAGER_PASSWORD,
    Slapd,
    Talk,
    answers_another_question,
    hangs_up,
    says_a_byte_now_and_then,
    says_nothing,
    says_too_much,
    starts_tls_and_lies_on,
    talks_nonsense,
)

FORMS = [
    SIMPLE,
    SEARCH,
    'ldapserver="127.0.0.2 127.0.0.1" ldapport={port} ldapbasedn="{base}"',
    HERE + 'ldapbasedn="{base}" ldapsearchattribute=uid',
    HERE + 'ldapbasedn="{base}" ldapsearchfilter="uid=$username"',
    HERE + '"ldapbasedn"="{base}" ,ldapsearchfilter="(& (uid=$username) (sn=*) )"',
    HERE + 'ldapbasedn="{base}" ldapbinddn="{manager}" ldapbindpasswd={password}',
    'ldapurl="ldap://127.0.0.1:{port}/{base}?uid?sub"',
    'ldapurl="ldap://127.0.0.1:{port}/{base}??sub?(|(uid=$username)(mail=$username))"',
    'ldapurl="ldap://127.0.0.1:{port}/uid=alice,{base}?uid"',
    'ldapurl="ldaps://127.0.0.1:{ldaps}/{base}??one?(uid=$username)"',
    'ldapserver=localhost ldapport={ldaps} ldapscheme=ldaps ldapprefix="uid=" ldapsuffix=",{base}"',
    HERE + 'ldapprefix="uid=" ldapsuffix=",{base}" ldaptls=1',
    HERE + 'ldapbasedn="{base}" ldaptls=1',
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_options_lets_in_who_has_the_password(slapd: Slapd, form: str) -> None:
    text = filled(form, slapd)
    trusting = {"LDAPTLS_CACERT": str(slapd.ca_file)}
    assert login(text, "alice", "wonder", environ=trusting) == (True, "")
    refused = f'LDAP login failed for "uid=alice,{BASE}": invalidCredentials'
    assert login(text, "alice", "Wonder", environ=trusting) == (False, refused)


NO_ENTRY = 'LDAP user "{}" does not exist: no entry for filter "(uid={})"'


@pytest.mark.parametrize(
    ("form", "user", "password", "reason"),
    [
        (SIMPLE, "smith, john", "sj", ""),
        (SIMPLE, "back\\slash", "bs", ""),
        (SIMPLE, "sta*(r)", "star", ""),
        (SIMPLE, "jörg #1", "jörg's", ""),
        (
            SIMPLE,
            "bob,ou=other",
            "bob's",
            'LDAP login failed for "uid=bob\\2cou\\3dother,{base}": invalidCredentials',
        ),
        (SEARCH, "smith, john", "sj", ""),
        (SEARCH, "back\\slash", "bs", ""),
        (SEARCH, "sta*(r)", "star", ""),
        (SEARCH, "jörg #1", "jörg's", ""),
        (SEARCH, "long", "x" * 60_000, ""),
        (SEARCH, "*", "wonder", NO_ENTRY.format("*", "\\2a")),
        (SEARCH, "a*", "wonder", NO_ENTRY.format("a*", "a\\2a")),
        (SEARCH, "alice)(uid=*", "wonder", NO_ENTRY.format("alice)(uid=*", "alice\\29\\28uid\\3d\\2a")),
        (SEARCH, "nobody", "x", NO_ENTRY.format("nobody", "nobody")),
        (SEARCH, "twin", "1", 'LDAP user "twin" is not unique: filter "(uid=twin)"'),
        (SEARCH, "alice", "", "empty user name or password"),
        (SIMPLE, "alice", "", "empty user name or password"),
        (SIMPLE, "", "x", "empty user name or password"),
        (SIMPLE, "j\udcf6rg", "x", "the user name is not UTF-8"),
        (
            SEARCH + ' ldapbinddn="{manager}" ldapbindpasswd=x',
            "alice",
            "wonder",
            f'could not bind as "{MANAGER}" to search: invalidCredentials',
        ),
        (
            'ldapserver=127.0.0.1 ldapport={port} ldapbasedn="dc=nope"',
            "alice",
            "wonder",
            'could not search LDAP for filter "(uid=alice)": noSuchObject',
        ),
    ],
)
def test_names_are_values_whatever_is_in_them(
    slapd: Slapd, form: str, user: str, password: str, reason: str
) -> None:
    assert login(filled(form, slapd), user, password) == (not reason, reason.replace("{base}", BASE))


@pytest.mark.parametrize(
    ("conf", "host", "reason"),
    [
        ("", "127.0.0.1", "certificate verify failed"),
        ("TLS_CACERT\t{ca}\n", "127.0.0.1", ""),
        ("# TLS_CACERT /none\ntls_cacert {ca}\nTLS_REQCERT demand", "localhost", ""),
        # Another spelling of 127.0.0.1, and not in the certificate.
        ("TLS_CACERT {ca}", "127.1", "certificate is not valid for"),
        ("TLS_REQCERT never", "127.1", ""),
        ("TLS_CACERT {ca}.old", "127.0.0.1", "No such file or directory"),
    ],
)
@pytest.mark.parametrize("form", ["ldapscheme=ldaps ldapport={ldaps}", "ldaptls=1 ldapport={port}"])
def test_ldap_conf_says_whom_to_trust(
    slapd: Slapd, tmp_path: Path, form: str, conf: str, host: str, reason: str
) -> None:
    file = tmp_path / "ldap.conf"
    file.write_text(conf.format(ca=slapd.ca_file))
    text = filled(f'ldapserver={host} ldapbasedn="{{base}}" {form}', slapd)
    confirmed, why = login(text, "alice", "wonder", environ={"LDAPCONF": str(file)})
    assert confirmed == (not reason)
    assert reason in why


def test_a_changed_ca_file_counts_from_the_next_login_on(slapd: Slapd, tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    options = LdapOptions.parse(filled(FORMS[10], slapd))

    async def asked() -> list[bool]:
        client = LdapClient(environ={"LDAPTLS_CACERT": str(ca_file)})
        with external_auth(ldap_client=client) as auth:
            Authority().write(tmp_path, "ca")
            before = await ask(auth, options, "alice", "wonder")
            ca_file.write_bytes(slapd.ca_file.read_bytes())
            return [before[0], (await ask(auth, options, "alice", "wonder"))[0]]

    assert run(asked) == [False, True]


@pytest.mark.parametrize(
    "form",
    [
        'ldapurl="ldaps://127.0.0.1:{port}/{base}?uid?sub"',
        'ldapurl="ldaps://127.0.0.1:{ldaps}/{base}?uid?sub" ldaptls=1',
        'ldapserver=127.0.0.1 ldapport={ldaps} ldapbasedn="{base}" ldaptls=1',
        'ldapserver=127.0.0.1 ldapport={ldaps} ldapbasedn="{base}"',
    ],
)
def test_tls_where_there_is_none_and_the_other_way_round_fail(slapd: Slapd, form: str) -> None:
    confirmed, reason = login(filled(form, slapd), "alice", "wonder", environ={"LDAPTLS_REQCERT": "never"})
    assert not confirmed
    assert "127.0.0.1" in reason


def test_a_referral_is_not_followed(slapd: Slapd) -> None:
    elsewhere = f"ou=elsewhere,{BASE}"

    async def asked() -> tuple[Answer, Answer, int]:
        visits: list[object] = []
        server = await asyncio.start_server(lambda *streams: visits.append(streams), "127.0.0.1", 0)
        url = f"ldap://127.0.0.1:{server.sockets[0].getsockname()[1]}/{elsewhere}"
        await asyncio.to_thread(_add_referral, slapd, elsewhere, url)
        above, below = (
            LdapOptions.parse(f'ldapserver=127.0.0.1 ldapport={slapd.port} ldapbasedn="{base}"')
            for base in (BASE, elsewhere)
        )
        with external_auth() as auth:
            return await ask(auth, above, "ghost", "x"), await ask(auth, below, "ghost", "x"), len(visits)

    above, below, visits = run(asked)
    assert above == (False, NO_ENTRY.format("ghost", "ghost"))
    assert below == (False, 'could not search LDAP for filter "(uid=ghost)": referral')
    assert visits == 0


def _add_referral(slapd: Slapd, dn: str, url: str) -> None:
    manager = ldap3.Connection(ldap3.Server("127.0.0.1", slapd.port), MANAGER, MANAGER_PASSWORD)
    assert manager.bind()
    assert manager.add(dn, ["referral", "extensibleObject"], {"ou": "elsewhere", "ref": url})
    manager.unbind()


def test_servers_are_looked_up_in_dns(slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    class NameServer(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport: Any = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            query = dns.message.from_wire(data)
            answer = dns.message.make_response(query)
            name = query.question[0].name
            if name.to_text() == "_ldap._tcp.example.net.":
                srv = [f"9 0 {slapd.port} localhost.", "8 0 1 127.0.0.1.", "7 0 1 ."]
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "SRV", *srv))
            self.transport.sendto(answer.to_wire(), addr)

    async def asked() -> tuple[list[tuple[str, int]], list[Answer]]:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = transport.get_extra_info("sockname")[1]
        monkeypatch.setattr(dns.resolver, "Resolver", lambda: resolver)
        with external_auth() as auth:
            return await asyncio.to_thread(find_ldap_servers, "example.net"), [
                await ask(auth, LdapOptions.parse(f'ldapbasedn="{base}"'), "alice", "wonder")
                for base in (BASE, "dc=example,dc=org")
            ]

    servers, (found, not_found) = run(asked)
    assert servers == [("127.0.0.1", 1), ("localhost", slapd.port)]
    assert found == (True, "")
    assert not_found[1].startswith('found no LDAP servers of "example.org" in DNS: ')


@pytest.mark.parametrize(
    ("talk", "more", "reason"),
    [
        (says_nothing, "", "timed out"),
        (says_nothing, " ldapscheme=ldaps", "timed out"),
        (says_nothing, " ldaptls=1", "timed out"),
        (says_a_byte_now_and_then, "", "timed out"),
        (says_too_much, "", "more than 1048576 bytes received"),
        (talks_nonsense, "", "unreadable answer"),
        (talks_nonsense, " ldapscheme=ldaps", "SSL"),
        (hangs_up, "", "session terminated by server"),
        (answers_another_question, "", "LDAP login failed"),
        (starts_tls_and_lies_on, " ldaptls=1", "invalid messageId received"),
    ],
)
def test_a_bad_server_refuses_one_login_and_blocks_nobody(
    slapd: Slapd, talk: Talk, more: str, reason: str
) -> None:
    async def asked() -> tuple[Answer, Answer]:
        # It lives on the same loop, so it could not even answer if a check blocked that.
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        bad = LdapOptions.parse(
            f'ldapserver=127.0.0.1 ldapport={port} ldapprefix="uid=" ldapsuffix=",dc=x"{more}'
        )
        hasty = LdapClient(login_timeout=0.5 if reason.endswith("timed out") else 20.0)
        with external_auth(ldap_client=hasty) as auth, external_auth() as patient:
            refused = ask(auth, bad, "alice", "wonder")
            good = ask(patient, LdapOptions.parse(filled(SIMPLE, slapd)), "alice", "wonder")
            return await asyncio.gather(refused, good)

    refused, good = run(asked)
    assert not refused[0]
    assert reason in refused[1]
    assert "wonder" not in refused[1]
    assert good == (True, "")
