"""Counters by name have a limit, and keep the last time."""

from pooler.pool.tallies import LIMIT, OTHER, TEXT_LIMIT, Tallies


def test_counts_and_the_last_time() -> None:
    tallies = Tallies()
    tallies.add("server", "42P01", "first")
    tallies.add("server", "42P01", "second", 7)
    tallies.add("pooler", "42P01")
    found = tallies.by_name["server", "42P01"]
    assert (found.count, found.text, found.client_id) == (2, "second", 7)
    assert found.time > 1_700_000_000
    assert tallies.by_name["pooler", "42P01"].count == 1


def test_names_and_texts_are_cut() -> None:
    tallies = Tallies()
    for text in ("x" * 1000, "x" * 2000):
        tallies.add("pooler", text, text)
    ((name, tally),) = tallies.by_name.items()
    assert (len(name[1]), len(tally.text), tally.count) == (TEXT_LIMIT, TEXT_LIMIT, 2)


def test_names_beyond_the_limit_count_as_other() -> None:
    tallies = Tallies()
    for number in range(LIMIT + 20):
        tallies.add("server", f"{number:05}")
    tallies.add("server", "00001")
    assert tallies.by_name["server", OTHER].count == 20
    assert tallies.by_name["server", "00001"].count == 2
    assert len(tallies.by_name) == LIMIT + 1
