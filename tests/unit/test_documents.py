"""The documents name what there is."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from pooler.admin.commands import COMMAND_TABLE
from pooler.admin.tables import SHOW_TABLES
from pooler.config.entries import DatabaseConfig, PeerConfig, UserConfig
from pooler.config.settings import SETTINGS
from tests.docs.generate_settings import DOCUMENT, NOTES, renewed

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def anchors(document: Path) -> set[str]:
    """As GitHub makes them out of headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", document.read_text())
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def keys_under(heading: str) -> set[str]:
    """The first column of the table under a heading of configuration.md."""
    section = DOCUMENT.read_text().partition(f"\n### {heading}\n")[2].partition("\n##")[0]
    return set(re.findall(r"(?m)^\| `(\w+)` \|", section))


def test_the_table_of_settings_is_up_to_date() -> None:
    text = DOCUMENT.read_text()
    assert renewed(text) == text, "run python -m tests.docs.generate_settings"


def test_every_note_is_about_a_setting() -> None:
    assert NOTES.keys() <= SETTINGS.keys()


@pytest.mark.parametrize(
    ("heading", "entry", "not_keys"),
    [
        ("`[databases]`", DatabaseConfig, {"name"}),
        ("`[users]`", UserConfig, {"name"}),
        ("`[peers]`", PeerConfig, {"peer_id", "origin"}),
    ],
)
def test_every_key_of_a_connect_string_has_its_row(heading: str, entry: type, not_keys: set[str]) -> None:
    assert keys_under(heading) == {field.name for field in fields(entry)} - not_keys


def test_every_admin_command_and_table_is_explained() -> None:
    text = (ROOT / "docs" / "admin.md").read_text()
    missing = [
        command.verb for command in COMMAND_TABLE if not re.search(rf"`{command.verb.upper()}\b", text)
    ]
    headings = " ".join(re.findall(r"(?m)^### SHOW (.*)$", text)).replace("SHOW", " ").lower()
    missing += [name for name in SHOW_TABLES.keys() - {"help"} if name not in re.findall(r"\w+", headings)]
    assert missing == []


@each_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@each_document
def test_every_module_that_is_named_exists(document: Path) -> None:
    for name in re.findall(r"`((?:pooler|cli|tests)/[\w/]+\.py)`", document.read_text()):
        assert (ROOT / name).is_file(), name


def test_every_name_of_the_architecture_is_in_the_source() -> None:
    source = "".join(
        path.read_text() for room in ("pooler", "tui", "cli") for path in (ROOT / room).rglob("*.py")
    )
    text = (ROOT / "docs" / "architecture.md").read_text()
    names = set(re.findall(r"`(?:([A-Z]\w+)\.)?(_?[a-z]\w*|[A-Z][a-z]\w+)`", text))
    words = {part for name in names for part in name if part}
    # Names of rooms, of lists and of branches of tests.
    elsewhere = {"tests", "unit", "integration", "bench", "support", "tui"}
    assert {word for word in words - elsewhere if not re.search(rf"\b{word}\b", source)} == set()
