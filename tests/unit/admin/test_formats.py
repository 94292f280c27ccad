"""Values in text and in binary format. What PostgreSQL itself makes of them: tests/integration."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.admin import formats
from pooler.admin.errors import AdminError
from pooler.admin.formats import BOOL, FLOAT4, FLOAT8, INT2, NAME, OID, TIMESTAMPTZ, VARCHAR
from pooler.wire.messages import BYTEA, INT4, INT8, NUMERIC, TEXT, parse_data_row


def encoded(oid: int, value: object, code: int) -> bytes | None:
    row = formats.row_encoder([("c", oid)], [code])((value,))
    return parse_data_row(row[5:])[0]


def decoded(oid: int, raw: bytes, code: int) -> object:
    (value,) = formats.parameter_values([oid], [code], [raw])
    return value


@pytest.mark.parametrize(
    ("oid", "value", "text", "binary"),
    [
        (INT4, -2, b"-2", "fffffffe"),
        (INT4, "7", b"7", "00000007"),
        (INT8, 1 << 40, b"1099511627776", "0000010000000000"),
        (INT2, 5, b"5", "0005"),
        (OID, 4294967295, b"4294967295", "ffffffff"),
        (TEXT, "grüße", "grüße".encode(), "6772c3bcc39f65"),
        (TEXT, "bad\udcff byte", b"bad\\xff byte", b"bad\\xff byte".hex()),
        (VARCHAR, "v", b"v", "76"),
        (NAME, "n", b"n", "6e"),
        (BOOL, True, b"t", "01"),
        (BOOL, 0, b"f", "00"),
        (BOOL, "on", b"t", "01"),
        (BYTEA, b"\0\xff", b"\\x00ff", "00ff"),
        (FLOAT8, 1.0, b"1", "3ff0000000000000"),
        (FLOAT8, "0.5", b"0.5", "3fe0000000000000"),
        (FLOAT4, float("-inf"), b"-Infinity", "ff800000"),
        (
            TIMESTAMPTZ,
            datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC),
            b"2000-01-01 00:00:01+00",
            "00000000000f4240",
        ),
        (TIMESTAMPTZ, datetime(2000, 1, 1, 0, 0, 0, 5), b"2000-01-01 00:00:00.000005+00", "0000000000000005"),
        (
            TIMESTAMPTZ,
            datetime(2000, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))),
            b"1999-12-31 23:00:00+00",
            "ffffffff296c5c00",
        ),
        (NUMERIC, 0, b"0", "0000000000000000"),
        (NUMERIC, 12345, b"12345", "000200010000000000010929"),
        (NUMERIC, 10000, b"10000", "00010001000000000001"),
        (NUMERIC, Decimal("-0.0120"), b"-0.0120", "0001ffff4000000400" + "78"),
        (NUMERIC, Decimal("1E+5"), b"100000", "0001000100000000000a"),
        (NUMERIC, Decimal("NaN"), b"NaN", "00000000c0000000"),
        (NUMERIC, Decimal("-NaN"), b"NaN", "00000000c0000000"),
        (NUMERIC, Decimal("Infinity"), b"Infinity", "00000000d0000020"),
    ],
)
def test_values(oid: int, value: object, text: bytes, binary: str) -> None:
    assert encoded(oid, value, 0) == text
    assert encoded(oid, value, 1) == bytes.fromhex(binary)


def test_null_is_null_in_either_format() -> None:
    for oid in (INT4, TEXT, NUMERIC, TIMESTAMPTZ):
        for code in (0, 1):
            assert encoded(oid, None, code) is None
            assert formats.parameter_values([oid], [code], [None]) == (None,)


@pytest.mark.parametrize(
    ("oid", "value"),
    [(INT4, 1 << 31), (INT4, "x"), (INT8, 1 << 63), (TIMESTAMPTZ, "soon"), (NUMERIC, "x"), (BOOL, "x")],
)
def test_what_a_column_cannot_hold_is_an_error(oid: int, value: object) -> None:
    with pytest.raises(AdminError, match="value out of range for type") as caught:
        encoded(oid, value, 1)
    assert caught.value.sqlstate == "22003"


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=None).filter(
        lambda number: abs(number.adjusted()) < 500
    )
)
def test_any_number_comes_back(number: Decimal) -> None:
    raw = encoded(NUMERIC, number, 1)
    assert raw is not None
    found = decoded(NUMERIC, raw, 1)
    assert isinstance(found, Decimal)
    assert found == number
    text = encoded(NUMERIC, number, 0)
    assert text is not None
    assert decoded(NUMERIC, text, 0) == number


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda moment: moment.replace(tzinfo=UTC)))
def test_any_moment_comes_back(moment: datetime) -> None:
    for code in (0, 1):
        raw = encoded(TIMESTAMPTZ, moment, code)
        assert raw is not None
        assert decoded(TIMESTAMPTZ, raw, code) == moment


@given(st.sampled_from([INT2, INT4, INT8]), st.integers())
def test_any_integer_comes_back_or_is_out_of_range(oid: int, number: int) -> None:
    fits = abs(number + 0.5) < {INT2: 1 << 15, INT4: 1 << 31, INT8: 1 << 63}[oid]
    text = str(number).encode()
    if not fits:
        with pytest.raises(AdminError):
            decoded(oid, text, 0)
        return
    assert decoded(oid, text, 0) == number
    raw = encoded(oid, number, 1)
    assert raw is not None
    assert decoded(oid, raw, 1) == number


@pytest.mark.parametrize(
    ("oid", "text", "sqlstate"),
    [
        (INT4, b"1_000", "22P02"),
        (INT4, "\u0661".encode(), "22P02"),
        (INT4, b"", "22P02"),
        (INT4, b"9" * 5000, "22003"),
        (INT2, b"32768", "22003"),
        (OID, b"-1", "22003"),
        (BOOL, b"perhaps", "22P02"),
        (BYTEA, b"\\xabc", "22P02"),
        (BYTEA, b"\\001", "22P02"),
        (NUMERIC, b"1_0", "22P02"),
        (NUMERIC, b"sNaN", "22P02"),
        (NUMERIC, b"1e999999", "22P02"),
        (NUMERIC, b"1e200000", "22P02"),
        (FLOAT8, b"one", "22P02"),
        (TIMESTAMPTZ, b"soon", "22P02"),
    ],
)
def test_text_that_is_no_value(oid: int, text: bytes, sqlstate: str) -> None:
    with pytest.raises(AdminError) as caught:
        decoded(oid, text, 0)
    assert caught.value.sqlstate == sqlstate


@pytest.mark.parametrize(
    ("oid", "raw"),
    [
        (INT4, b""),
        (INT4, b"\0" * 5),
        (BOOL, b""),
        (NUMERIC, b""),
        (NUMERIC, b"\0\1\0\0\0\0\0\0"),
        (NUMERIC, b"\xff\xff\0\0\0\0\0\0"),
        (NUMERIC, b"\0\1\0\0\0\0\0\0\x27\x10"),
        (NUMERIC, b"\0\0\0\0\1\0\0\0"),
        (TIMESTAMPTZ, b"\x7f" * 8),
        (TEXT, b"\xff"),
        (TEXT, b"a\0"),
    ],
)
def test_bytes_that_are_no_value(oid: int, raw: bytes) -> None:
    with pytest.raises(AdminError) as caught:
        decoded(oid, raw, 1)
    assert caught.value.sqlstate == "22P03"


@given(
    st.sampled_from([BOOL, BYTEA, INT2, INT4, INT8, OID, TEXT, FLOAT4, FLOAT8, NUMERIC, TIMESTAMPTZ, 600]),
    st.sampled_from([0, 1]),
    st.binary(max_size=24),
)
def test_any_bytes_are_a_value_or_an_error(oid: int, code: int, raw: bytes) -> None:
    try:
        value = decoded(oid, raw, code)
    except AdminError:
        return
    for again in (0, 1):
        encoded(oid, value, again)


@pytest.mark.parametrize("text", [b"t", b"TRUE", b" yes ", b"on", b"1"])
def test_ways_to_say_yes(text: bytes) -> None:
    assert decoded(BOOL, text, 0) is True
