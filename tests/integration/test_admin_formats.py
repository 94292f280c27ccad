"""The console's text and binary formats beside those of a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from psycopg import pq

from cli.demo.postgres import TemporaryPostgres
from pooler.admin import formats
from pooler.admin.formats import BOOL, FLOAT8, TIMESTAMPTZ
from pooler.wire.messages import BYTEA, INT4, INT8, NUMERIC, TEXT, parse_data_row
from tests.support.bouncer import USER

NUMBERS = (
    *("0", "1", "-1", "9999", "10000", "10001", "100000000", "0.1", "0.0001", "0.00001", "-0.0120", "1.500"),
    *("10000.0001", "-123456789012345678901234.5678", "1e20", "1e-20", "NaN", "Infinity", "-Infinity"),
)


@pytest.mark.parametrize(
    ("oid", "literal", "value"),
    [
        (INT4, "'-2147483648'::int4", -(1 << 31)),
        (INT8, "'9223372036854775807'::int8", (1 << 63) - 1),
        (TEXT, "'grüße'::text", "grüße"),
        (BOOL, "true", True),
        (BOOL, "false", False),
        (BYTEA, "'\\x00ff7f'::bytea", b"\0\xff\x7f"),
        (FLOAT8, "'1'::float8", 1.0),
        (FLOAT8, "'0.1'::float8", 0.1),
        (FLOAT8, "'-Infinity'::float8", float("-inf")),
        (TIMESTAMPTZ, "'2026-11-21 10:00:00+00'::timestamptz", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        (
            TIMESTAMPTZ,
            "'1999-12-31 23:59:59.123456+00'::timestamptz",
            datetime(1999, 12, 31, 23, 59, 59, 123456),
        ),
        *((NUMERIC, f"'{number}'::numeric", Decimal(number)) for number in NUMBERS),
    ],
)
def test_values_are_sent_and_read_as_postgresql_does(
    postgres: TemporaryPostgres, oid: int, literal: str, value: object
) -> None:
    with psycopg.connect(
        host="127.0.0.1", port=postgres.port, user=USER, dbname="postgres", autocommit=True
    ) as link:
        link.execute("SET timezone = 'GMT'")
        for code, format_ in ((0, pq.Format.TEXT), (1, pq.Format.BINARY)):
            result = link.cursor(binary=bool(code)).execute(f"SELECT {literal}".encode()).pgresult
            assert result is not None
            assert (result.fformat(0), result.ftype(0)) == (format_, oid)
            sent = result.get_value(0, 0)
            assert sent is not None
            assert parse_data_row(formats.row_encoder([("c", oid)], [code])((value,))[5:]) == [sent]
            (read,) = formats.parameter_values([oid], [code], [sent])
            assert parse_data_row(formats.row_encoder([("c", oid)], [1])((read,))[5:]) == parse_data_row(
                formats.row_encoder([("c", oid)], [1])((value,))[5:]
            )
