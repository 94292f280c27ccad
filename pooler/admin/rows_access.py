"""Rows about who comes in: SHOW LOGINS and CERTIFICATES, which PgBouncer does not have."""

from datetime import UTC, datetime

from pooler.admin.console import Row
from pooler.admin.host import AdminHost

SOON_DAYS = 30
"""What counts as expiring."""


def logins(host: AdminHost) -> list[Row]:
    """Why logins have failed since the start, how often, and whose was the last; the most frequent first."""
    failures = host.registry.failed_logins.by_reason
    return [
        (
            reason,
            failure.count,
            _moment(datetime.fromtimestamp(failure.time, UTC)),
            failure.database,
            failure.user,
            failure.address,
        )
        for reason, failure in sorted(failures.items(), key=lambda item: (-item[1].count, item[0]))
    ]


def certificates(host: AdminHost) -> list[Row]:
    """The TLS certificates in use, in the order in which they end."""
    now = datetime.now(UTC)
    found = sorted(host.certificates(), key=lambda certificate: (certificate[3], certificate))
    return [
        (setting, file, subject, _moment(ends), (ends - now).days, _state((ends - now).days))
        for setting, file, subject, ends in found
    ]


def _state(days_left: int) -> str:
    if days_left < 0:
        return "expired"
    return "expiring" if days_left < SOON_DAYS else "valid"


def _moment(when: datetime) -> str:
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
