"""What this release refuses to start with."""

from pathlib import Path
from types import NoneType

import pytest

from pooler.config.settings import DEFAULTS, SETTINGS
from pooler.config.snapshot import PeerConfig, Snapshot, load, unsupported, unsupported_value
from pooler.config.unsupported import REFUSED_SETTINGS

from .conftest import Load

SEED = Path(__file__).parents[2] / "data" / "seed_pgbouncer.ini"

# A value that is refused, for every setting that has one.
REFUSED = [
    ("dns_zone_check_period", "0.5", "DNS zones are not checked yet"),
    ("peer_id", "1", "poolers do not pass on cancel requests to each other yet"),
    ("resolv_conf", "/etc/resolv.conf", "the operating system looks up names"),
]


def test_the_table_of_this_test_is_whole() -> None:
    assert {row[0] for row in REFUSED} == set(REFUSED_SETTINGS)
    assert set(REFUSED_SETTINGS) <= set(SETTINGS)


@pytest.mark.parametrize(("name", "text", "reason"), REFUSED)
def test_a_setting_is_refused_at_its_line_and_by_set(
    load_text: Load, name: str, text: str, reason: str
) -> None:
    message = f"setting {name} is not available in this release: {reason}"
    errors = unsupported(load_text(f"[pgbouncer]\n\n{name} = {text}\n"))
    assert [str(error) for error in errors] == [f"a.ini:3: {message}"]
    assert unsupported_value(name, text) == message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            (name, "")
            for name in sorted(REFUSED_SETTINGS)
            if type(getattr(DEFAULTS, name)) in {str, NoneType}
        ),
        *(
            (name, str(SETTINGS[name].show(getattr(DEFAULTS, name))))
            for name in sorted(REFUSED_SETTINGS)
            if SETTINGS[name].default_text is not None
        ),
        ("auth_type", "any"),
        ("auth_type", "trust"),
        ("auth_type", "plain"),
        ("auth_type", "scram-sha-256"),
        ("auth_type", "pam"),
        ("auth_type", "ldap"),
        ("auth_ldap_options", "ldapurl=x"),
        ("server_tls_sslmode", "disable"),
        ("auth_user", "x"),
        ("auth_query", "select 1"),
        ("auth_dbname", "x"),
        ("max_prepared_statements", "7"),
        ("conffile", "x"),
    ],
)
def test_a_harmless_value_is_fine(load_text: Load, name: str, text: str) -> None:
    assert unsupported(load_text(f"[pgbouncer]\n{name} = {text}\n")) == ()
    assert unsupported_value(name, text) is None


def test_defaults_and_the_seed_are_fine(load_text: Load) -> None:
    assert unsupported(load_text("[pgbouncer]\n")) == ()
    assert unsupported(load(str(SEED))) == ()


def test_every_peer_is_refused_at_its_line(load_text: Load) -> None:
    errors = unsupported(load_text("[pgbouncer]\npeer_id=1\n[peers]\n1=host=x\n2=host=y\n"))
    reason = "is not available in this release: poolers do not pass on cancel requests to each other yet"
    assert [str(error) for error in errors] == [
        f"a.ini:2: setting peer_id {reason}",
        f"a.ini:4: section [peers] {reason}",
        f"a.ini:5: section [peers] {reason}",
    ]


def test_a_peer_without_a_line_is_refused_too() -> None:
    (error,) = unsupported(Snapshot(file="a.ini", peers={1: PeerConfig(1, "x")}))
    assert str(error).startswith("a.ini: section [peers] is not available")


@pytest.mark.parametrize(
    ("name", "text"), [("no_such_setting", "1"), ("auth_type", "none"), ("peer_id", "x")]
)
def test_what_cannot_be_read_is_not_judged(name: str, text: str) -> None:
    assert unsupported_value(name, text) is None
