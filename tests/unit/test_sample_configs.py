"""The files of sample_configs can be used as they are."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

from pooler.auth.secrets import SecretKind, kind_of
from pooler.config.settings import word_list
from pooler.config.snapshot import load, unsupported
from pooler.config.userlist import load_userlist
from pooler.service.options import parse

SAMPLES = Path(__file__).parents[2] / "sample_configs"
INI_FILES = ("pgbouncer.ini", "pgbouncer-minimal.ini")


def service() -> ConfigParser:
    unit = ConfigParser(delimiters=("=",), interpolation=None)
    unit.read(SAMPLES / "pooldeck.service")
    return unit


@pytest.mark.parametrize("name", INI_FILES)
def test_a_sample_loads_and_asks_for_nothing_that_is_missing(name: str) -> None:
    snapshot = load(str(SAMPLES / name))
    assert unsupported(snapshot) == ()
    assert snapshot.databases or snapshot.autodb


def test_so_it_does_with_every_choice_of_its_comments_taken(tmp_path: Path) -> None:
    text, choices = re.subn(r"(?m)^;(?=[a-z_*]+ = )", "", (SAMPLES / "pgbouncer.ini").read_text())
    path = tmp_path / "pgbouncer.ini"
    path.write_text(text)
    assert choices > 10
    assert unsupported(load(str(path))) == ()


def test_every_user_of_the_sample_has_a_scram_secret_and_the_console_its_users() -> None:
    userlist = load_userlist(str(SAMPLES / "userlist.txt"))
    assert userlist.error is None
    assert {kind_of(secret) for secret in userlist.users.values()} == {SecretKind.SCRAM}
    settings = load(str(SAMPLES / "pgbouncer.ini")).settings
    assert {*word_list(settings.admin_users), *word_list(settings.stats_users)} <= userlist.users.keys()


def test_the_service_starts_the_sample_with_options_that_there_are() -> None:
    unit = service()["Service"]
    program, *arguments = unit["ExecStart"].split()
    options = parse([program, *arguments])
    assert Path(program).name == "pooldeck-pgbouncer"
    assert Path(options.config).name == "pgbouncer.ini"
    assert unit["Type"] == "notify"


def test_the_service_has_the_directory_and_the_descriptors_that_the_sample_needs() -> None:
    unit = service()["Service"]
    settings = load(str(SAMPLES / "pgbouncer.ini")).settings
    assert settings.unix_socket_dir == f"/run/{unit['RuntimeDirectory']}"
    assert int(unit["LimitNOFILE"]) > settings.max_client_conn + settings.max_db_connections
