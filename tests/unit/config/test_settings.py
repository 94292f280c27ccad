"""The table of settings against PgBouncer's own, as its SHOW CONFIG prints it."""

import dataclasses
from collections.abc import Callable
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.config.settings import (
    DEFAULTS,
    SETTINGS,
    AuthType,
    PoolMode,
    Settings,
    SslMode,
    list_contains,
    word_list,
)

AUTH_QUERY = (
    "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END "
    "FROM pg_authid WHERE rolname=$1 AND rolcanlogin"
)

# Name, type, default, key of [databases], key of [users], changeable; the order is that of the documentation,
# which is that of SHOW CONFIG. server_tls_sslnegotiation and transaction_mode_guard are our own.
TABLE = [
    ("admin_users", "text", "", None, None, True),
    ("application_name_add_host", "int", "0", None, None, True),
    ("auth_dbname", "text", None, "auth_dbname", None, True),
    ("auth_file", "text", None, None, None, True),
    ("auth_hba_file", "text", "", None, None, True),
    ("auth_ident_file", "text", None, None, None, True),
    ("auth_ldap_options", "text", None, None, None, True),
    ("auth_query", "text", AUTH_QUERY, "auth_query", None, True),
    ("auth_type", "enum", "md5", None, None, True),
    ("auth_user", "text", None, "auth_user", None, True),
    ("autodb_idle_timeout", "seconds", "3600", None, None, True),
    ("cancel_wait_timeout", "seconds", "10", None, None, True),
    ("client_idle_timeout", "seconds", "0", None, "client_idle_timeout", True),
    ("client_login_timeout", "seconds", "60", None, None, True),
    ("client_tls13_ciphers", "text", None, None, None, True),
    ("client_tls_ca_file", "text", "", None, None, True),
    ("client_tls_cert_file", "text", "", None, None, True),
    ("client_tls_ciphers", "text", "default", None, None, True),
    ("client_tls_dheparams", "text", "auto", None, None, True),
    ("client_tls_ecdhcurve", "text", "auto", None, None, True),
    ("client_tls_key_file", "text", "", None, None, True),
    ("client_tls_protocols", "text", "secure", None, None, True),
    ("client_tls_sslmode", "enum", "disable", None, None, True),
    ("conffile", "text", None, None, None, True),
    ("default_pool_size", "int", "20", "pool_size", "pool_size", True),
    ("disable_pqexec", "int", "0", None, None, False),
    ("dns_max_ttl", "seconds", "15", None, None, True),
    ("dns_nxdomain_ttl", "seconds", "15", None, None, True),
    ("dns_zone_check_period", "seconds", "0", None, None, True),
    ("idle_transaction_timeout", "seconds", "0", None, "idle_transaction_timeout", True),
    ("ignore_startup_parameters", "text", "", None, None, True),
    ("job_name", "text", "pgbouncer", None, None, False),
    ("listen_addr", "text", "", None, None, False),
    ("listen_backlog", "int", "128", None, None, False),
    ("listen_port", "int", "6432", None, None, False),
    ("log_connections", "int", "1", None, None, True),
    ("log_disconnections", "int", "1", None, None, True),
    ("log_pooler_errors", "int", "1", None, None, True),
    ("log_stats", "int", "1", None, None, True),
    ("logfile", "text", "", None, None, True),
    ("login_notify_message", "text", "", None, None, True),
    ("max_client_conn", "int", "100", None, None, True),
    ("max_db_client_connections", "int", "0", "max_db_client_connections", None, True),
    ("max_db_connections", "int", "0", "max_db_connections", None, True),
    ("max_packet_size", "int", "2147483647", None, None, True),
    ("max_prepared_statements", "int", "200", None, None, True),
    ("max_user_client_connections", "int", "0", None, "max_user_client_connections", True),
    ("max_user_connections", "int", "0", None, "max_user_connections", True),
    ("min_pool_size", "int", "0", "min_pool_size", None, True),
    ("peer_id", "int", "0", None, None, True),
    ("pidfile", "text", "", None, None, False),
    ("pkt_buf", "int", "4096", None, None, False),
    ("pool_mode", "enum", "session", "pool_mode", "pool_mode", True),
    ("pool_idle_timeout", "seconds", "0", None, None, True),
    ("query_timeout", "seconds", "0", None, "query_timeout", True),
    ("query_wait_notify", "int", "5", None, None, True),
    ("query_wait_timeout", "seconds", "120", "query_wait_timeout", "query_wait_timeout", True),
    ("reserve_pool_size", "int", "0", "reserve_pool_size", "reserve_pool_size", True),
    ("reserve_pool_timeout", "seconds", "5", None, None, True),
    ("resolv_conf", "text", "", None, None, False),
    ("sbuf_loopcnt", "int", "5", None, None, True),
    ("scram_iterations", "int", "4096", None, None, True),
    ("server_check_delay", "seconds", "30", None, None, True),
    ("server_check_query", "text", "<empty>", None, None, True),
    ("server_connect_timeout", "seconds", "15", None, None, True),
    ("server_fast_close", "int", "0", None, None, True),
    ("server_idle_timeout", "seconds", "600", None, None, True),
    ("server_lifetime", "seconds", "3600", "server_lifetime", None, True),
    ("server_login_retry", "seconds", "15", None, None, True),
    ("server_reset_query", "text", "DISCARD ALL", None, None, True),
    ("server_reset_query_always", "int", "0", None, None, True),
    ("server_round_robin", "int", "0", None, None, True),
    ("server_tls13_ciphers", "text", None, None, None, True),
    ("server_tls_ca_file", "text", "", None, None, True),
    ("server_tls_cert_file", "text", "", None, None, True),
    ("server_tls_ciphers", "text", "default", None, None, True),
    ("server_tls_key_file", "text", "", None, None, True),
    ("server_tls_protocols", "text", "secure", None, None, True),
    ("server_tls_sslmode", "enum", "prefer", None, None, True),
    ("server_tls_sslnegotiation", "enum", "postgres", None, None, True),
    ("so_reuseport", "int", "0", None, None, False),
    ("stats_period", "int", "60", None, None, True),
    ("stats_users", "text", "", None, None, True),
    ("suspend_timeout", "seconds", "10", None, None, True),
    ("syslog", "int", "0", None, None, True),
    ("syslog_facility", "text", "daemon", None, None, True),
    ("syslog_ident", "text", "pgbouncer", None, None, True),
    ("tcp_defer_accept", "int", "1", None, None, True),
    ("tcp_keepalive", "int", "1", None, None, True),
    ("tcp_keepcnt", "int", "0", None, None, True),
    ("tcp_keepidle", "int", "0", None, None, True),
    ("tcp_keepintvl", "int", "0", None, None, True),
    ("tcp_socket_buffer", "int", "0", None, None, True),
    ("tcp_user_timeout", "int", "0", None, None, True),
    ("track_extra_parameters", "text", "IntervalStyle", None, None, False),
    ("transaction_mode_guard", "enum", "warn", None, None, True),
    ("transaction_timeout", "seconds", "0", None, "transaction_timeout", True),
    ("unix_socket_dir", "text", "/tmp", None, None, False),
    ("unix_socket_group", "text", "", None, None, False),
    ("unix_socket_mode", "int", "0777", None, None, False),
    ("user", "text", None, None, None, False),
    ("verbose", "int", None, None, None, True),
]

TYPES: dict[str, tuple[type, ...]] = {
    "text": (str, type(None)),
    "int": (int,),
    "seconds": (float,),
    "enum": (Enum,),
}


def test_there_are_100_settings_and_two_of_our_own_in_the_order_of_show_config() -> None:
    assert len(TABLE) == 100 + 2
    assert list(SETTINGS) == [row[0] for row in TABLE]


@pytest.mark.parametrize(("name", "kind", "default", "database_key", "user_key", "reloadable"), TABLE)
def test_a_setting_is_as_pgbouncer_declares_it(
    name: str,
    kind: str,
    default: str | None,
    database_key: str | None,
    user_key: str | None,
    reloadable: bool,
) -> None:
    setting = SETTINGS[name]
    assert setting.name == name
    assert setting.default_text == default
    assert setting.database_key == database_key
    assert setting.user_key == user_key
    assert setting.reloadable is reloadable
    assert isinstance(getattr(DEFAULTS, name), TYPES[kind])


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_has_one_line_of_help(name: str) -> None:
    text = SETTINGS[name].help
    assert 10 < len(text) < 100
    assert "\n" not in text
    assert not text.endswith(".")


@pytest.mark.parametrize("name", [row[0] for row in TABLE if row[0] not in {"unix_socket_mode", "verbose"}])
def test_a_default_is_shown_as_it_is_written(name: str) -> None:
    setting = SETTINGS[name]
    assert setting.show(getattr(DEFAULTS, name)) == setting.default_text


def test_two_values_are_not_shown_like_their_defaults() -> None:
    assert SETTINGS["unix_socket_mode"].show(DEFAULTS.unix_socket_mode) == "511"
    assert SETTINGS["verbose"].default_text is None
    assert SETTINGS["verbose"].show(DEFAULTS.verbose) == "0"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("+7", 7),
        ("-5", -5),
        ("0", 0),
        ("0x10", 16),
        ("0XfF", 255),
        ("-0x10", -16),
        ("0777", 511),
        (" \t\n7", 7),
        ("2147483647", 2**31 - 1),
        ("-2147483648", -(2**31)),
    ],
)
def test_an_integer_is_read_as_c_does(text: str, value: int) -> None:
    assert SETTINGS["default_pool_size"].parse(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "on",
        "yes",
        "true",
        "7 ",
        "7x",
        "08",
        "0x",
        "0b1",
        "0o7",
        "1_0",
        "1.0",
        "1e3",
        "٣",
        "- 5",
        "--5",
    ],
)
@pytest.mark.parametrize(
    "name", ["default_pool_size", "log_connections", "max_packet_size", "tcp_defer_accept"]
)
def test_what_is_not_wholly_an_integer_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"parameter {name}: expected an integer"):
        SETTINGS[name].parse(text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("default_pool_size", "2147483648"),
        ("default_pool_size", "-2147483649"),
        ("default_pool_size", "9" * 5000),
        ("max_packet_size", "-1"),
        ("max_packet_size", "4294967296"),
    ],
)
def test_an_integer_that_would_wrap_around_is_refused(name: str, text: str) -> None:
    with pytest.raises(ValueError, match="expected an integer from"):
        SETTINGS[name].parse(text)


def test_max_packet_size_is_unsigned() -> None:
    assert SETTINGS["max_packet_size"].parse("4294967295") == 2**32 - 1


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("120", 120.0, "120"),
        ("0.5", 0.5, "0.5"),
        (".5", 0.5, "0.5"),
        ("5.", 5.0, "5"),
        ("1e3", 1000.0, "1000"),
        ("+2", 2.0, "2"),
        ("-0", 0.0, "0"),
        (" 3", 3.0, "3"),
        ("0x10", 16.0, "16"),
        ("0.1234567", 0.123456, "0.123456"),
        ("1.001", 1.000999, "1.001"),
        ("123456789", 123456789.0, "1.23457e+08"),
        ("9223372036854", 9223372036854.0, "9.22337e+12"),
    ],
)
def test_a_time_is_read_to_the_microsecond_and_shown_as_c_prints_it(
    text: str, value: float, shown: str
) -> None:
    setting = SETTINGS["query_timeout"]
    assert setting.parse(text) == value
    assert setting.show(setting.parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "-0.1",
        "1h",
        "10s",
        "1 ",
        "nan",
        "inf",
        "infinity",
        "1e999",
        "1e300",
        "9223372036855",
        "0x1p9999",
        "1_0",
        "1,5",
        ".",
    ],
)
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="parameter query_timeout: expected a number of seconds"):
        SETTINGS["query_timeout"].parse(text)


@pytest.mark.parametrize(
    ("name", "text", "value", "shown"),
    [
        ("pool_mode", "Transaction", PoolMode.TRANSACTION, "transaction"),
        ("auth_type", "SCRAM-SHA-256", AuthType.SCRAM_SHA_256, "scram-sha-256"),
        ("auth_type", "hba", AuthType.HBA, "hba"),
        ("server_tls_sslmode", "Verify-Full", SslMode.VERIFY_FULL, "verify-full"),
    ],
)
def test_a_name_is_read_in_any_case_and_shown_in_lower_case(
    name: str, text: str, value: Enum, shown: str
) -> None:
    setting = SETTINGS[name]
    assert setting.parse(text) is value
    assert setting.show(value) == shown


@pytest.mark.parametrize("text", ["", "sessions", "verify_ca", " session", "0"])
def test_an_unknown_name_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(ValueError, match="one of session, transaction, statement"):
        SETTINGS["pool_mode"].parse(text)


def test_all_names_of_sslmode_in_rising_order() -> None:
    names = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
    assert [SETTINGS["client_tls_sslmode"].parse(name) for name in names] == list(SslMode)
    assert sorted(SslMode) == list(SslMode)


def test_the_admin_console_is_no_auth_dbname() -> None:
    with pytest.raises(ValueError, match=r'invalid value "pgbouncer" for parameter auth_dbname: .*reserved'):
        SETTINGS["auth_dbname"].parse("pgbouncer")
    assert SETTINGS["auth_dbname"].parse("authdb") == "authdb"


def test_quotes_in_a_value_are_part_of_it() -> None:
    assert SETTINGS["server_reset_query"].parse("'DISCARD ALL'") == "'DISCARD ALL'"


def test_replace_changes_one_setting_and_not_the_original() -> None:
    changed = DEFAULTS.replace("default_pool_size", "0x20")
    assert changed.default_pool_size == 32
    assert DEFAULTS.default_pool_size == 20
    assert dataclasses.replace(changed, default_pool_size=20) == DEFAULTS


def test_replace_refuses_an_unknown_name_and_a_bad_value() -> None:
    with pytest.raises(KeyError):
        DEFAULTS.replace("service_name", "x")
    with pytest.raises(ValueError, match='invalid value "on" for parameter log_stats'):
        DEFAULTS.replace("log_stats", "on")


def test_settings_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULTS.verbose = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        SETTINGS["x"] = SETTINGS["user"]  # type: ignore[index]


def test_ldap_options_may_hold_a_password_and_are_not_in_the_repr() -> None:
    assert "hunter2" not in repr(Settings(auth_ldap_options="ldapbindpasswd=hunter2"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("a", ("a",)),
        (" a , b\t,c ", ("a", "b", "c")),
        ("127.0.0.1,::1", ("127.0.0.1", "::1")),
        (",a,,b,", ("a", "b")),
        ("john doe, jane", ("john doe", "jane")),
    ],
)
def test_a_word_list_is_split_at_commas(text: str, words: tuple[str, ...]) -> None:
    assert word_list(text) == words


@pytest.mark.parametrize("text", ["a", "x,a", "a,x", "x, a ,y", "x a y", "x\ta", "aa a", "a b, a b a"])
def test_a_list_contains_a_word_between_commas_and_blanks(text: str) -> None:
    assert list_contains(text, "a")


@pytest.mark.parametrize("text", ["", "aa", "xa,ax", "a-b", "A"])
def test_a_list_does_not_contain_a_part_of_a_word(text: str) -> None:
    assert not list_contains(text, "a")


def test_no_list_contains_the_empty_word_or_runs_past_its_end() -> None:
    assert not list_contains("a,,b", "")
    assert not list_contains("a", "a,")
    assert not list_contains("a,ba", "a,")
    assert list_contains("john doe", "john doe")


@given(st.lists(st.text("abc", min_size=1), max_size=5))
def test_a_list_contains_the_words_it_was_joined_from(words: list[str]) -> None:
    text = ", ".join(words)
    assert word_list(text) == tuple(words)
    assert all(list_contains(text, word) for word in words)


def numbers_as_text() -> st.SearchStrategy[tuple[str, int]]:
    numbers = st.integers(-(2**31), 2**31 - 1)
    spellings: list[Callable[[int], str]] = [
        str,
        lambda n: f"{n:#x}",
        lambda n: f"{'-' * (n < 0)}0{abs(n):o}",
    ]
    return st.tuples(st.sampled_from(spellings), numbers).map(lambda pair: (pair[0](pair[1]), pair[1]))


@given(numbers_as_text())
def test_every_spelling_of_an_integer_gives_it_back(case: tuple[str, int]) -> None:
    text, number = case
    assert SETTINGS["max_client_conn"].parse(text) == number


@given(st.sampled_from(sorted(SETTINGS)), st.text())
def test_any_text_is_a_value_or_a_value_error(name: str, text: str) -> None:
    try:
        value = SETTINGS[name].parse(text)
    except ValueError:
        return
    shown = SETTINGS[name].show(value)
    assert shown is not None
    assert SETTINGS[name].show(SETTINGS[name].parse(shown)) == shown
