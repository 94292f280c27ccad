"""Takes messages apart as the protocol chapter describes them ("Message Data Types", "Message Formats").

On purpose nothing of `pooler.wire`: the tests must not share its mistakes.
"""

from __future__ import annotations

import struct


class Malformed(AssertionError):
    """A message is not what its type says."""


class Body:
    """Reads the fields of a message body one after the other. Every method raises Malformed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def raw(self, size: int) -> bytes:
        """Byten."""
        if size < 0 or self._position + size > len(self._data):
            raise Malformed(f"cut message: {self._data!r}")
        taken = self._data[self._position : self._position + size]
        self._position += size
        return taken

    def rest(self) -> bytes:
        return self.raw(len(self._data) - self._position)

    def number(self, layout: str) -> int:
        """One Int8, Int16 or Int32, given by its letter of `struct`."""
        return int(struct.unpack("!" + layout, self.raw(struct.calcsize(layout)))[0])

    def numbers(self, layout: str) -> list[int]:
        """A count and as many numbers."""
        return [self.number(layout) for _ in range(self._count())]

    def string(self) -> bytes:
        """String, without its zero."""
        end = self._data.find(b"\0", self._position)
        text = self.raw(end - self._position)
        self.raw(1)
        return text

    def text(self) -> str:
        """String, of UTF-8. Raises UnicodeDecodeError too."""
        return self.string().decode()

    def values(self) -> list[bytes | None]:
        """A count and as many values, each with its length; None is NULL."""
        found: list[bytes | None] = []
        for _ in range(self._count()):
            size = self.number("i")
            found.append(None if size == -1 else self.raw(size))
        return found

    def end(self) -> None:
        """There must be nothing more."""
        if self._position != len(self._data):
            raise Malformed(f"{len(self._data) - self._position} bytes too many: {self._data!r}")

    def _count(self) -> int:
        count = self.number("h")
        if count < 0:
            raise Malformed(f"negative count: {self._data!r}")
        return count


def body_of(kind: bytes, message: bytes) -> Body:
    """The body of exactly one message of this type."""
    if message[:1] != kind or struct.unpack("!I", message[1:5])[0] != len(message) - 1:
        raise Malformed(f"not one message of type {kind!r}: {message!r}")
    return Body(message[5:])


def packet(message: bytes) -> Body:
    """The body of exactly one packet without a type."""
    if struct.unpack("!I", message[:4])[0] != len(message):
        raise Malformed(f"not one packet: {message!r}")
    return Body(message[4:])


def messages(data: bytes) -> list[tuple[bytes, Body]]:
    """Types and bodies of messages that fill `data`."""
    found: list[tuple[bytes, Body]] = []
    position = 0
    while position < len(data):
        kind, length = struct.unpack_from("!cI", data, position)
        end = position + 1 + length
        if length < 4 or end > len(data):
            raise Malformed(f"cut message: {data[position:]!r}")
        found.append((kind, Body(data[position + 5 : end])))
        position = end
    return found
