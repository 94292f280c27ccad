"""Loading a configuration whole, merging it with the running one, comparing two of them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pooler.config.settings import DEFAULTS, AuthType, LoadBalance, PoolMode
from pooler.config.snapshot import (
    AutoDatabase,
    Changes,
    ConfigErrors,
    DatabaseConfig,
    Origin,
    PeerConfig,
    Snapshot,
    UserConfig,
    diff,
    load,
    reloaded,
    unsupported,
)

from .conftest import Complaints, Load

SEED = Path(__file__).parents[2] / "data" / "seed_pgbouncer.ini"
MAIN = "[pgbouncer]\n"


def test_the_seed_loads_whole() -> None:
    snapshot = load(str(SEED))
    assert snapshot.file == str(SEED)
    assert snapshot.databases == {}
    assert snapshot.users == {}
    assert snapshot.peers == {}
    assert snapshot.autodb is not None
    assert snapshot.autodb.for_name("shop") == DatabaseConfig(
        name="shop",
        dbname="postgres",
        host="127.0.0.1",
        port=5416,
        client_encoding="UTF8",
        datestyle="ISO",
        auth_user="postgres",
    )
    assert snapshot.settings == dataclasses.replace(
        DEFAULTS,
        conffile=str(SEED),
        logfile="/pglogs/pgbouncer/pgbouncer.log",
        pidfile="/var/run/pgbouncer/pgbouncer.pid",
        listen_addr="*",
        listen_port=5432,
        auth_type=AuthType.MD5,
        auth_file="/etc/pgbouncer/userlist.txt",
        admin_users="postgres",
        stats_users="stats, postgres, sysnagios",
        pool_mode=PoolMode.TRANSACTION,
        ignore_startup_parameters="extra_float_digits,geqo,lc_monetary",
        application_name_add_host=1,
        max_client_conn=40000,
        default_pool_size=2000,
        min_pool_size=5,
        reserve_pool_size=1000,
        reserve_pool_timeout=2.0,
        log_connections=0,
        log_disconnections=0,
        server_idle_timeout=300.0,
        server_connect_timeout=30.0,
        idle_transaction_timeout=1200.0,
    )
    assert len(snapshot.explicit) == 27
    assert snapshot.explicit["listen_port"] == Origin(str(SEED), 55)


def test_a_database_entry_with_every_key(load_text: Load) -> None:
    snapshot = load_text(
        "[databases]\nshop = dbname=shop1 host=/run,@abstract,::1 port=5433 user=app password='o''clock' "
        "auth_user=au auth_dbname=ad auth_query='select $1' client_encoding=UTF8 datestyle='ISO, MDY' "
        "timezone=UTC application_name=pool connect_query='set x = 1' pool_size=7 min_pool_size=2 "
        "reserve_pool_size=3 query_wait_timeout=4 max_db_connections=5 max_db_client_connections=6 "
        "server_lifetime=60 load_balance_hosts=Disable pool_mode=Statement\n" + MAIN
    )
    assert snapshot.databases == {
        "shop": DatabaseConfig(
            name="shop",
            dbname="shop1",
            host="/run,@abstract,::1",
            port=5433,
            user="app",
            password="o'clock",
            auth_user="au",
            auth_dbname="ad",
            auth_query="select $1",
            client_encoding="UTF8",
            datestyle="ISO, MDY",
            timezone="UTC",
            application_name="pool",
            connect_query="set x = 1",
            pool_size=7,
            min_pool_size=2,
            reserve_pool_size=3,
            query_wait_timeout=4.0,
            max_db_connections=5,
            max_db_client_connections=6,
            server_lifetime=60.0,
            load_balance_hosts=LoadBalance.DISABLE,
            pool_mode=PoolMode.STATEMENT,
        )
    }


def test_an_empty_connect_string_is_a_database_of_that_name(load_text: Load) -> None:
    assert load_text("[databases]\nfoodb =\n" + MAIN).databases == {"foodb": DatabaseConfig("foodb", "foodb")}


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("pool_size=0", "pool_size", 0),
        ("pool_size=-1", "pool_size", None),
        ("pool_size=010", "pool_size", 10),  # decimal here, unlike in [pgbouncer]
        ("pool_size='\t+7'", "pool_size", 7),
        ("min_pool_size=0", "min_pool_size", 0),
        ("min_pool_size=-1", "min_pool_size", None),
        ("reserve_pool=3", "reserve_pool_size", 3),
        ("reserve_pool_size=0", "reserve_pool_size", 0),
        ("max_db_connections=0", "max_db_connections", None),
        ("max_db_connections=-1", "max_db_connections", None),
        ("max_db_client_connections=0", "max_db_client_connections", None),
        ("server_lifetime=0", "server_lifetime", None),
        ("query_wait_timeout=0", "query_wait_timeout", 0.0),
        ("query_wait_timeout=-1", "query_wait_timeout", 0.0),
        ("port=65535", "port", 65535),
    ],
)
def test_a_number_of_a_database_overrides_where_pgbouncer_lets_it(
    load_text: Load, text: str, field: str, value: Any
) -> None:
    database = load_text(f"[databases]\nd = {text}\n{MAIN}").databases["d"]
    assert database == dataclasses.replace(DatabaseConfig("d", "d"), **{field: value})


def test_a_user_entry_with_every_key(load_text: Load) -> None:
    snapshot = load_text(
        "[users]\n'ann b' = pool_mode=TRANSACTION pool_size=1 reserve_pool_size=2 max_user_connections=3 "
        "max_user_client_connections=4 query_timeout=5 query_wait_timeout=6 idle_transaction_timeout=7 "
        "transaction_timeout=8 client_idle_timeout=9\nbob =\n" + MAIN
    )
    assert snapshot.users == {
        "ann b": UserConfig("ann b", PoolMode.TRANSACTION, 1, 2, 3, 4, 5.0, 6.0, 7.0, 8.0, 9.0),
        "bob": UserConfig("bob"),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pool_size=0 reserve_pool_size=0", UserConfig("u", pool_size=0, reserve_pool_size=0)),
        ("pool_size=-1 reserve_pool_size=-1", UserConfig("u")),
        ("max_user_connections=0 max_user_client_connections=0", UserConfig("u")),
        ("query_timeout=0 transaction_timeout=0", UserConfig("u")),
        ("idle_transaction_timeout=0 client_idle_timeout=0", UserConfig("u")),
        ("query_wait_timeout=0", UserConfig("u", query_wait_timeout=0.0)),
    ],
)
def test_a_number_of_a_user_overrides_where_pgbouncer_lets_it(
    load_text: Load, text: str, expected: UserConfig
) -> None:
    assert load_text(f"[users]\nu = {text}\n{MAIN}").users == {"u": expected}


def test_peers_are_known_by_number(load_text: Load) -> None:
    snapshot = load_text(MAIN + "[peers]\n007 = host=a\n65535 = host=/tmp port=7 pool_size=3\n")
    assert snapshot.peers == {7: PeerConfig(7, "a"), 65535: PeerConfig(65535, "/tmp", 7, 3)}
    assert snapshot.peers[7].origin == Origin("a.ini", 3)


def test_entries_keep_the_order_of_the_file_and_the_last_duplicate_counts(load_text: Load) -> None:
    snapshot = load_text(
        "[databases]\nz = host=1 port=7\na =\nz = host=2\n" + MAIN + "verbose=1\nverbose=2\n"
    )
    assert list(snapshot.databases) == ["z", "a"]
    assert snapshot.databases["z"] == DatabaseConfig("z", "z", host="2")
    assert snapshot.settings.verbose == 2
    assert snapshot.explicit == {"verbose": Origin("a.ini", 7)}


def test_a_second_main_section_resets_what_has_a_default(load_text: Load) -> None:
    snapshot = load_text(
        MAIN
        + "default_pool_size=77\nlogfile=x\nauth_file=u\nverbose=1\n[users]\n[pgbouncer]\nstats_period=7\n"
    )
    assert snapshot.settings == dataclasses.replace(
        DEFAULTS, conffile="a.ini", stats_period=7, auth_file="u", verbose=1
    )
    assert list(snapshot.explicit) == ["auth_file", "verbose", "stats_period"]


def test_an_include_with_its_own_header_resets_too(directory: Path, load_text: Load) -> None:
    (directory / "b.ini").write_text("[pgbouncer]\nstats_users=q\n")
    snapshot = load_text(MAIN + "default_pool_size=77\n%include b.ini\n")
    assert snapshot.settings.default_pool_size == 20
    assert snapshot.explicit == {"stats_users": Origin("b.ini", 2)}


def test_an_include_without_a_header_does_not(directory: Path, load_text: Load) -> None:
    (directory / "b.ini").write_text("stats_users=q\n")
    snapshot = load_text(MAIN + "default_pool_size=77\n%include b.ini\n")
    assert (snapshot.settings.default_pool_size, snapshot.settings.stats_users) == (77, "q")


def test_the_main_section_may_come_last_and_be_empty(load_text: Load) -> None:
    assert load_text("[databases]\na=\n[users]\n[peers]\n[pgbouncer]").settings == dataclasses.replace(
        DEFAULTS, conffile="a.ini"
    )


def test_conffile_is_the_file_unless_it_names_another(load_text: Load) -> None:
    assert load_text(MAIN).settings.conffile == "a.ini"
    assert load_text(MAIN + "conffile = b.ini").settings.conffile == "b.ini"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[foo]\na=1\nb=2\n[pgbouncer]", "a.ini:1: unknown section: foo"),
        ("[ pgbouncer ]\n[pgbouncer]", "a.ini:1: unknown section:  pgbouncer "),
        ("a=1\n[pgbouncer]", "a.ini:1: value without section: a"),
        ("[databases]\n", "a.ini: main section missing from config file"),
        ("", "a.ini: main section missing from config file"),
        (MAIN + "foo=1", "a.ini:2: unknown parameter: pgbouncer/foo"),
        (MAIN + "service_name=x", "a.ini:2: unknown parameter: pgbouncer/service_name"),
        (MAIN + "Stats_Users=x", "a.ini:2: unknown parameter: pgbouncer/Stats_Users"),
        (
            MAIN + "\nlog_stats = on",
            'a.ini:3: invalid value "on" for parameter log_stats: '
            "expected an integer from -2147483648 to 2147483647",
        ),
        (
            MAIN + "query_timeout = 1h",
            'a.ini:2: invalid value "1h" for parameter query_timeout: '
            "expected a number of seconds, 0 or more, without a unit",
        ),
        (
            MAIN + "pool_mode = 'session'",
            "a.ini:2: invalid value \"'session'\" for parameter pool_mode: "
            "expected one of session, transaction, statement",
        ),
        (
            MAIN + "auth_dbname = pgbouncer",
            'a.ini:2: invalid value "pgbouncer" for parameter auth_dbname: '
            'expected a database other than the reserved "pgbouncer"',
        ),
    ],
)
def test_mistakes_in_sections_and_settings(complaints: Complaints, text: str, message: str) -> None:
    assert complaints(text) == [message]


INT = "expected a whole number from -2147483648 to 2147483647"


@pytest.mark.parametrize(
    ("section", "entry", "message"),
    [
        ("databases", "pgbouncer =", 'database name "pgbouncer" is reserved'),
        ("databases", "d" * 64 + "=", "too long db name: " + "d" * 64),
        ("databases", "'" + "\xc3\xbc" * 32 + "'=", "too long db name: " + "ü" * 32),
        ("databases", "d = foo=1", "unrecognized connection parameter: foo"),
        ("databases", "d = HOST=1", "unrecognized connection parameter: HOST"),
        ("databases", "d = host", "syntax error in connection string: expected key=value at character 1"),
        (
            "databases",
            "d = host=''",
            "syntax error in connection string: value of host is empty or badly quoted",
        ),
        ("databases", "* = foo=1", "unrecognized connection parameter: foo"),
        ("databases", "d = port=0", "invalid port: 0 (expected a whole number from 1 to 65535)"),
        ("databases", "d = port=65536", "invalid port: 65536 (expected a whole number from 1 to 65535)"),
        ("databases", "d = port=x", "invalid port: x (expected a whole number from 1 to 65535)"),
        ("databases", "d = pool_size=abc", f"invalid pool_size: abc ({INT})"),
        ("databases", "d = pool_size=5x", f"invalid pool_size: 5x ({INT})"),
        ("databases", "d = pool_size=0x5", f"invalid pool_size: 0x5 ({INT})"),
        ("databases", "d = max_db_connections=2147483648", f"invalid max_db_connections: 2147483648 ({INT})"),
        (
            "databases",
            "d = server_lifetime=-1",
            "invalid server_lifetime: -1 (expected a whole number from 0 to 2147483647)",
        ),
        (
            "databases",
            "d = query_wait_timeout=-2",
            "invalid query_wait_timeout: -2 (expected a whole number from -1 to 2147483647)",
        ),
        (
            "databases",
            "d = pool_mode=x",
            "invalid pool_mode: x (expected one of session, transaction, statement)",
        ),
        (
            "databases",
            "d = load_balance_hosts=x",
            "invalid load_balance_hosts: x (expected one of round-robin, disable)",
        ),
        ("users", "u = host=x", "unrecognized user parameter: host"),
        ("users", "u = reserve_pool=1", "unrecognized user parameter: reserve_pool"),
        ("users", "u" * 128 + "=", "too long user name: " + "u" * 128),
        (
            "users",
            "u = query_timeout=0.5",
            "invalid query_timeout: 0.5 (expected a whole number from 0 to 2147483647)",
        ),
        ("peers", "0 = host=x", "ids of peers must be a number larger than 0 and at most 65535"),
        ("peers", "65536 = host=x", "ids of peers must be a number larger than 0 and at most 65535"),
        ("peers", "one = host=x", "ids of peers must be a number larger than 0 and at most 65535"),
        ("peers", "0x1 = host=x", "ids of peers must be a number larger than 0 and at most 65535"),
        ("peers", "1 = port=5", "host was not provided for peer 1"),
        ("peers", "1 = host=x user=y", "unrecognized connection parameter: user"),
    ],
)
def test_mistakes_in_entries(complaints: Complaints, section: str, entry: str, message: str) -> None:
    assert complaints(f"{MAIN}[{section}]\n{entry}\n") == [f"a.ini:3: {message}"]


def test_names_of_the_greatest_length_are_fine(load_text: Load) -> None:
    snapshot = load_text(f"{MAIN}[databases]\n{'d' * 63} =\n[users]\n{'u' * 127} =\n")
    assert list(snapshot.databases) == ["d" * 63]
    assert list(snapshot.users) == ["u" * 127]


def test_all_mistakes_are_told_at_once_in_their_order(directory: Path, complaints: Complaints) -> None:
    (directory / "b.ini").write_text("\nmax_packet_size = x\n%include none.ini\n[databases]\n")
    text = "[databases]\nd = port=0\n[pgbouncer\n???\nfoo = 1\n%include b.ini\ne = host=\n[bar]\nlost = 1\n"
    assert complaints(text) == [
        "a.ini:2: invalid port: 0 (expected a whole number from 1 to 65535)",
        "a.ini:3: syntax error: the name of a section ends with ]",
        "a.ini:4: syntax error: expected [section], key = value or %include FILE",
        "a.ini:5: unknown parameter: pgbouncer/foo",
        'b.ini:2: invalid value "x" for parameter max_packet_size: expected an integer from 0 to 4294967295',
        'b.ini:3: could not load file "none.ini": No such file or directory',
        "a.ini:7: syntax error in connection string: value of host is empty or badly quoted",
        "a.ini:8: unknown section: bar",
    ]


def test_an_unreadable_file_is_the_only_mistake(directory: Path) -> None:
    with pytest.raises(ConfigErrors) as raised:
        load("none.ini")
    assert str(raised.value) == 'none.ini: could not load file "none.ini": No such file or directory'


def test_an_error_is_printed_a_line_each(load_text: Load) -> None:
    with pytest.raises(ConfigErrors) as raised:
        load_text("[foo]\n[bar]\n[pgbouncer]")
    assert str(raised.value) == "a.ini:1: unknown section: foo\na.ini:2: unknown section: bar"


@pytest.mark.parametrize(
    "entry", ["d = password=hunter2 port=0", "d = password='hunter2", "* = password=hunter2 x"]
)
def test_an_error_does_not_tell_a_password(complaints: Complaints, entry: str) -> None:
    (message,) = complaints(f"{MAIN}[databases]\n{entry}\n")
    assert "hunter2" not in message


def test_the_repr_of_a_snapshot_has_no_passwords(load_text: Load) -> None:
    snapshot = load_text(f"{MAIN}[databases]\nd = user=u password=hunter2\n* = user=u password=hunter2\n")
    assert "user='u'" in repr(snapshot)
    assert "hunter2" not in repr(snapshot)


def test_a_snapshot_cannot_be_changed_in_place(load_text: Load) -> None:
    snapshot = load_text(f"{MAIN}verbose=1\n[databases]\nd=\n")
    with pytest.raises(TypeError):
        snapshot.databases["e"] = snapshot.databases["d"]  # type: ignore[index]
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.databases["d"].port = 1  # type: ignore[misc]


class TestAutoDatabase:
    def test_the_name_of_the_client_is_that_of_the_server_unless_dbname_is_set(self) -> None:
        assert AutoDatabase("host=h").for_name("x") == DatabaseConfig("x", "x", host="h")
        assert AutoDatabase("dbname=y").for_name("x") == DatabaseConfig("x", "y")

    @pytest.mark.parametrize(
        ("name", "complaint"),
        [("pgbouncer", "is reserved"), ("*", "is reserved"), ("d" * 64, "too long db name")],
    )
    def test_not_every_name_can_be_a_database(self, name: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            AutoDatabase("host=h").for_name(name)

    def test_the_last_fallback_counts_and_is_no_database(self, load_text: Load) -> None:
        snapshot = load_text(f"{MAIN}[databases]\n* = host=a\n* = host=b\n")
        assert snapshot.autodb == AutoDatabase("host=b")
        assert snapshot.databases == {}


class TestReloaded:
    def test_only_a_restart_changes_some_settings(self, load_text: Load) -> None:
        current = load_text(MAIN + "listen_port=1\nunix_socket_dir=/a\nmax_client_conn=1\n[databases]\na=\n")
        fresh = load_text(MAIN + "listen_port=2\nmax_client_conn=2\n[databases]\nb=\n")
        merged = reloaded(current, fresh)
        assert merged.settings == dataclasses.replace(
            fresh.settings, listen_port=1, unix_socket_dir="/a", max_client_conn=2
        )
        assert merged.databases == fresh.databases
        assert merged.explicit == fresh.explicit

    def test_what_set_changed_is_lost(self, load_text: Load) -> None:
        loaded = load_text(MAIN + "max_client_conn=1\n")
        running = dataclasses.replace(
            loaded, settings=loaded.settings.replace("max_client_conn", "9").replace("stats_period", "1")
        )
        assert reloaded(running, loaded) == loaded

    def test_verbosity_of_the_command_line_stays_unless_the_file_sets_it(self, load_text: Load) -> None:
        running = Snapshot(settings=DEFAULTS.replace("verbose", "2"))
        assert reloaded(running, load_text(MAIN)).settings.verbose == 2
        assert reloaded(running, load_text(MAIN + "verbose=1\n")).settings.verbose == 1


class TestDiff:
    def test_equal_snapshots_do_not_differ(self, load_text: Load) -> None:
        text = MAIN + "verbose=1\n[databases]\na=\n*=host=x\n[users]\nu=\n[peers]\n1=host=x\n"
        assert not diff(load_text(text), load_text("\n\n" + text))

    def test_every_section_is_compared(self, load_text: Load) -> None:
        old = load_text(
            MAIN + "verbose=1\nlogfile=x\n"
            "[databases]\ngone=\nsame=\nmoved=host=a port=1\n* = host=x\n"
            "[users]\nu=pool_size=1\n[peers]\n1=host=x\n"
        )
        new = load_text(
            MAIN + "verbose=2\nlogfile=x\n"
            "[databases]\nsame=\nmoved=host=b port=1 password=p\nnew=\n* = host=y\n"
            "[users]\nu=pool_size=2\n[peers]\n1=host=y\n2=host=x\n"
        )
        changes = diff(old, new)
        assert changes
        assert changes.settings == ("verbose",)
        assert changes.databases == Changes(("new",), ("gone",), {"moved": ("host", "password")})
        assert changes.autodb
        assert changes.users == Changes((), (), {"u": ("pool_size",)})
        assert changes.peers == Changes((2,), (), {1: ("host",)})

    @pytest.mark.parametrize(
        "text",
        ["verbose=1\n", "[databases]\na=\n", "[databases]\n*=\n", "[users]\na=\n", "[peers]\n1=host=x\n"],
    )
    def test_one_difference_is_enough(self, load_text: Load, text: str) -> None:
        assert diff(load_text(MAIN), load_text(MAIN + text))
        assert diff(load_text(MAIN + text), load_text(MAIN))


LINES = st.sampled_from(
    [
        "[pgbouncer]",
        "[databases]",
        "[users]",
        "[peers] 1 = host=x",
        "[nowhere]",
        "[",
        "a = host=x port=5",
        "* = host=x",
        "pgbouncer =",
        "'a b' = password='x",
        "1 = host=x",
        "pool_mode = session",
        "pool_mode = none",
        "listen_port = 0x10",
        "%include any.ini",
        "%include none",
        "; comment",
        "",
    ]
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINES | st.text()).map("\n".join))
def test_any_text_loads_or_raises_its_errors(directory: Path, text: str) -> None:
    (directory / "any.ini").write_text(text, "utf-8", "surrogatepass")
    try:
        snapshot = load("any.ini")
    except ConfigErrors as error:
        mistakes = error.errors
    else:
        mistakes = unsupported(snapshot)
        assert snapshot.file == "any.ini"
    assert all(mistake.file == "any.ini" and mistake.message for mistake in mistakes)
