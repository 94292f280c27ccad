"""What goes wrong with an admin command."""

from pooler.wire.messages import PROTOCOL_VIOLATION

QUERY_CANCELED = "57014"


class AdminError(Exception):
    """Ends a command, not the connection. PgBouncer sends SQLSTATE 08P01 for nearly all of them.

    `detail` is what PgBouncer would only have logged.
    """

    def __init__(self, message: str, sqlstate: str = PROTOCOL_VIOLATION, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.detail = detail


class AdminSyntaxError(AdminError):
    """A query that is no admin command."""
