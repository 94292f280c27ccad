"""SHOW LOGINS and SHOW CERTIFICATES."""

from datetime import UTC, datetime, timedelta

from pooler.admin.rows_access import certificates, logins
from pooler.pool.failures import REASONS_LIMIT
from tests.unit.admin.fakes import FakePooler


def test_logins_are_counted_by_what_the_clients_were_told() -> None:
    pooler = FakePooler()
    failed = pooler.registry.failed_logins
    failed.add("no such database: p9", "p9", "ada", "10.0.0.1:5")
    for user in ("ada", "bob"):
        failed.add("password authentication failed", "p0", user, "10.0.0.2:6")
    failed.add("no such database: p8", "p8", "eve", "10.0.0.3:7")
    failed.add("no such database: p7", "p7", "eve", "10.0.0.3:8")
    rows = [(reason, count, *last) for reason, count, _, *last in logins(pooler)]
    assert rows == [
        ("no such database", 3, "p7", "eve", "10.0.0.3:8"),
        ("password authentication failed", 2, "p0", "bob", "10.0.0.2:6"),
    ]


def test_reasons_do_not_pile_up() -> None:
    pooler = FakePooler()
    for number in range(2 * REASONS_LIMIT):
        pooler.registry.failed_logins.add(f"reason {number}", "", "", "")
    assert len(logins(pooler)) == REASONS_LIMIT + 1
    assert logins(pooler)[0][:2] == ("other", REASONS_LIMIT)


def test_certificates_in_the_order_of_their_ends() -> None:
    pooler = FakePooler()
    now = datetime.now(UTC) + timedelta(hours=1)
    pooler.certificates_in_use = [
        ("client_tls_ca_file", "ca.pem", "CN=ca", now + timedelta(days=30)),
        ("client_tls_cert_file", "a.pem", "CN=a", now + timedelta(days=29)),
        ("server_tls_cert_file", "b.pem", "CN=b", now - timedelta(days=2)),
    ]
    rows = [(setting, days, state) for setting, _, _, _, days, state in certificates(pooler)]
    assert rows == [
        ("server_tls_cert_file", -2, "expired"),
        ("client_tls_cert_file", 29, "expiring"),
        ("client_tls_ca_file", 30, "valid"),
    ]
