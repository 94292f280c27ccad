"""The one error that malformed input raises."""


class ProtocolError(Exception):
    """A message breaks the PostgreSQL protocol; its text may be shown to the peer that sent it."""
