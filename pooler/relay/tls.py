"""TLS between a connection and its socket.

The bytes go through OpenSSL in memory (`ssl.MemoryBIO`), within the same callbacks as without TLS: no task,
and none of the buffers of 256 KB that event loops keep for a connection. The first bytes of a handshake may
have been read already (direct TLS).
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pooler.relay.certificates import peer_common_name
from pooler.wire.errors import ProtocolError

READ_SIZE: Final = 16 * 1024
"""The most that a TLS record can hold, and OpenSSL returns at a time."""

RECORD_SIZE: Final = 8 * 1024
"""Bytes of a TLS record, PostgreSQL's own: clients with a buffer of that size must not be left with half a
record decrypted (https://github.com/supabase/supavisor/issues/993).
"""

ALPN_PROTOCOL: Final = "postgresql"
"""What direct TLS has to ask for (protocol chapter, "SSL Session Encryption")."""

HANDSHAKE_RECORD: Final = 0x16
"""First byte of a TLS connection; no other packet that may come first begins with it."""

_PLACE_IN_C: Final = re.compile(r" \(_ssl\.c:\d+\)$")


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How clients may encrypt (`client_tls_*`). `binding` is what SCRAM-SHA-256-PLUS binds a login to."""

    context: ssl.SSLContext
    required: bool
    binding: bytes


@dataclass(frozen=True, slots=True)
class ServerTls:
    """How connections to servers are encrypted (`server_tls_*`); not `required`, if the server has TLS.

    `direct`: without asking, which PostgreSQL takes since 17; it has to agree on `ALPN_PROTOCOL` then.
    """

    context: ssl.SSLContext
    required: bool
    direct: bool


class TlsTransport:
    """What a connection has for a transport when it speaks TLS, and what its socket's transport has for a
    protocol.

    `done` is called once: with None when the handshake is over, else with the reason why it failed, and then
    nothing more can be sent.
    """

    __slots__ = (
        "_closed",
        "_done",
        "_incoming",
        "_inner",
        "_outgoing",
        "_paused",
        "_raw",
        "_tls",
        "established",
    )

    def __init__(
        self,
        raw: Any,
        inner: Any,
        context: ssl.SSLContext,
        server_hostname: str | None,
        server_side: bool,
        done: Callable[[str | None], None],
    ) -> None:
        self._raw: Any = raw
        self._inner: Any = inner
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._done: Callable[[str | None], None] = done
        self._closed = False
        self._paused = False
        self.established = False

    def start(self, first: bytes = b"") -> None:
        """Takes over the socket's transport; `first` has come already."""
        self._raw.set_protocol(self)
        self._incoming.write(first)
        self._shake_hands()

    # From the socket ---------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Encrypted bytes."""
        self._incoming.write(data)
        if self.established:
            self._read()
        else:
            self._shake_hands()

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ssl.CertificateError, OSError) as error:
            # What OpenSSL has to say to the peer about it.
            self._flush()
            self._fail(describe_failure(error))
            return
        self.established = True
        self._flush()
        self._done(None)
        self._read()

    def _fail(self, reason: str) -> None:
        done = self._done
        self._done = _nothing
        done(reason)

    def _read(self) -> None:
        """Delivers what has come, until the connection is told to pause."""
        while not self._closed and not self._paused:
            try:
                data = self._tls.read(READ_SIZE)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLZeroReturnError:
                data = b""
            except ssl.SSLError as error:
                self._inner.connection_lost(ProtocolError(describe_failure(error)))
                self._raw.abort()
                return
            if not data:
                self._end_of_stream()
                return
            self._inner.data_received(data)
            if not self._incoming.pending and not self._tls.pending():
                # To be told so by an exception costs more than all the rest.
                break
        if not self._closed:
            # TLS 1.3 answers a peer that wants new keys.
            self._flush()

    def _end_of_stream(self) -> None:
        """The peer has said that it sends no more; what follows that is not looked at."""
        self._inner.eof_received()
        self._raw.close()

    def eof_received(self) -> bool:
        """The peer has closed its side, in the middle of a handshake perhaps."""
        if not self.established:
            self._fail("connection closed in the handshake")
            return False
        self._read()
        return bool(self._inner.eof_received())

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is closed."""
        if not self.established:
            self._fail("connection lost in the handshake")
        self._closed = True
        self._inner.connection_lost(error)

    def pause_writing(self) -> None:
        """The peer reads slower than we send."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        self._inner.resume_writing()

    def connection_made(self, transport: Any) -> None:
        """Long ago."""

    # To the socket -----------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Plain bytes. Before the handshake is over there is nobody who could read them."""
        if not self.established or self._closed:
            return
        size = len(data)
        try:
            if size <= RECORD_SIZE:
                self._tls.write(data)
            else:
                view = memoryview(data)
                for start in range(0, size, RECORD_SIZE):
                    self._tls.write(view[start : start + RECORD_SIZE])
        except ssl.SSLError as error:
            self._inner.connection_lost(ProtocolError(describe_failure(error)))
            self._raw.abort()
            return
        self._flush()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._raw.write(self._outgoing.read())

    def close(self) -> None:
        """Says goodbye, and closes when everything is sent."""
        if self.established:
            # The peer's own goodbye is not waited for.
            with suppress(ssl.SSLError, OSError):
                self._tls.unwrap()
            self._flush()
        self._closed = True
        self._raw.close()

    def abort(self) -> None:
        """Closes at once."""
        self._closed = True
        self._raw.abort()

    def pause_reading(self) -> None:
        """Delivers no more for now, not even what has come already."""
        self._paused = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Reads again. What has come already is delivered soon, not from within this call."""
        self._paused = False
        self._raw.resume_reading()
        if self._incoming.pending or self._tls.pending():
            asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self.established:
            self._read()

    def get_write_buffer_size(self) -> int:
        """Bytes that the socket has not taken yet."""
        return int(self._raw.get_write_buffer_size())

    def set_write_buffer_limits(self, high: int) -> None:
        """When `pause_writing` is called."""
        self._raw.set_write_buffer_limits(high=high)

    def get_extra_info(self, name: str) -> Any:
        """`ssl_object`, or what the socket's transport knows."""
        return self._tls if name == "ssl_object" else self._raw.get_extra_info(name)


def tls_text(transport: Any) -> str:
    """`TLSv1.3/TLS_AES_256_GCM_SHA384`, as SHOW CLIENTS has it; empty for a connection without TLS."""
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    return "" if tls is None or tls.cipher() is None else version_and_cipher(tls)


def version_and_cipher(tls: ssl.SSLObject) -> str:
    """`TLSv1.3/TLS_AES_256_GCM_SHA384`; a dash for what is not settled yet."""
    cipher = tls.cipher()
    return f"{tls.version() or '-'}/{cipher[0] if cipher else '-'}"


def certificate_names(transport: Any) -> frozenset[str] | None:
    """Whom the peer's certificate is for: its common name and its alternative DNS names.

    None without a certificate that our CA vouches for. Names with a NUL in them are left out: whoever reads
    such a name as a string of C sees another one.
    """
    tls = None if transport is None else transport.get_extra_info("ssl_object")
    certificate = None if tls is None else tls.getpeercert()
    if not certificate:
        return None
    names = {name for kind, name in certificate.get("subjectAltName", ()) if kind == "DNS"}
    common = None if tls is None else peer_common_name(tls)
    return frozenset(name for name in names if "\0" not in name) | ({common} if common else frozenset())


def describe_failure(error: Exception) -> str:
    """What went wrong in a handshake or with a file, for the log: OpenSSL's words without places in C."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {getattr(error, 'verify_message', None) or error.strerror}"
    # Those that ssl raises without having asked OpenSSL have no such attribute.
    reason: str | None = getattr(error, "reason", None)
    if isinstance(error, ssl.SSLError) and reason:
        return reason.lower().replace("_", " ")
    text = error.strerror if isinstance(error, OSError) else None
    return _PLACE_IN_C.sub("", text or str(error)) or type(error).__name__


def _nothing(reason: str | None) -> None:
    """The handshake was given up before."""
