"""What counts as the same result."""

from __future__ import annotations

from tests.pg_regress.compare import differences


def test_equal_outputs_do_not_differ() -> None:
    assert differences({"boolean": "t\n", "char": "a\n"}, {"char": "a\n", "boolean": "t\n"}) == {}


def test_a_line_that_changed_is_shown_with_both_sides() -> None:
    (diff,) = differences(
        {"date": "SHOW datestyle;\n Postgres\n"}, {"date": "SHOW datestyle;\n ISO\n"}
    ).values()
    assert diff.splitlines() == [
        "--- date, directly",
        "+++ date, through the pooler",
        "@@ -1,2 +1,2 @@",
        " SHOW datestyle;",
        "- Postgres",
        "+ ISO",
    ]


def test_a_missing_output_differs_even_from_an_empty_one() -> None:
    assert differences({"a": ""}, {"b": ""}) == {
        "a": "a: there is no output through the pooler\n",
        "b": "b: there is no output directly\n",
    }


def test_only_the_sender_of_a_notification_may_differ() -> None:
    direct = 'listener: NOTIFY "c1" with payload "one" from notifier\n'
    pooled = 'listener: NOTIFY "c1" with payload "one" from PID 4711\n'
    assert differences({"notify": direct}, {"notify": pooled}) == {}
    assert differences({"notify": direct}, {"notify": pooled.replace("one", "two")})
