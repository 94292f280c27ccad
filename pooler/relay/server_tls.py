"""TLS to a server: asks for it, and goes on encrypted, or in clear where that is allowed."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from pooler.relay.address import Target
from pooler.relay.certificates import server_hostname
from pooler.relay.context import Context
from pooler.relay.tls import ALPN_PROTOCOL, ServerTls, TlsTransport, tls_text
from pooler.wire import messages


class Encryptable(Protocol):
    """A connection to a server, in which nothing has been said yet."""

    context: Context
    transport: Any
    target: Target
    closed: bool

    def describe(self) -> str:
        """Its prefix in the log."""

    def disconnect(self, reason: str, terminate: bool = True) -> None:
        """Closes it."""

    def eof_received(self) -> bool:
        """The server has closed its side."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""


class EncryptionRequest:
    """Stands in for a server connection between the SSLRequest and its answer of one byte (protocol chapter,
    "SSL Session Encryption"). `proceed` is called when the connection may be used.
    """

    def __init__(self, server: Encryptable, tls: ServerTls, proceed: Callable[[], None]) -> None:
        self._server = server
        self._tls = tls
        self._raw: Any = server.transport
        self._proceed = proceed

    def begin(self) -> None:
        """Asks; or starts at once where servers are known to take that."""
        if self._tls.direct:
            self._encrypt()
            return
        self._raw.set_protocol(self)
        self._raw.write(messages.SSL_REQUEST_MESSAGE)

    def data_received(self, data: bytes) -> None:
        """The answer. More than that was not encrypted and may be anybody's (CVE-2021-3935)."""
        server = self._server
        if data[:1] not in (b"S", b"N"):
            server.disconnect("bad sslreq answer", terminate=False)
        elif len(data) > 1:
            server.disconnect("received unencrypted data after SSL response", terminate=False)
        elif data == b"S":
            self._encrypt()
        elif self._tls.required:
            server.disconnect("server refused SSL", terminate=False)
        else:
            self._raw.set_protocol(server)
            self._proceed()

    def _encrypt(self) -> None:
        server = self._server
        name = server_hostname(server.target.host or "")
        transport = TlsTransport(self._raw, server, self._tls.context, name, False, self._started)
        server.transport = transport
        transport.start()

    def _started(self, failure: str | None) -> None:
        server = self._server
        if server.closed:
            return
        log = server.context.registry.log
        if failure is None and self._tls.direct:
            failure = self._disagreement()
        if failure is not None:
            log.warning(f"TLS handshake failed: {failure}", server.describe())
            server.disconnect("server TLS handshake failed", terminate=False)
            return
        server.target = replace(server.target, tls=self._tls)
        if server.context.registry.settings.log_connections:
            log.info(f"SSL established: {tls_text(server.transport)}", server.describe())
        self._proceed()

    def _disagreement(self) -> str | None:
        """Without an SSLRequest nothing but ALPN says that the other side speaks PostgreSQL."""
        chosen = self._server.transport.get_extra_info("ssl_object").selected_alpn_protocol()
        return None if chosen == ALPN_PROTOCOL else "the server has not agreed on PostgreSQL by ALPN"

    def eof_received(self) -> bool:
        """The server has closed its side."""
        return self._server.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._server.connection_lost(error)

    def connection_made(self, transport: Any) -> None:
        """Before this took over."""

    def pause_writing(self) -> None:
        """Eight bytes are no load."""

    def resume_writing(self) -> None:
        """Eight bytes are no load."""


def for_login(context: Context, target: Target) -> ServerTls | None:
    """How a new connection to this target is encrypted; unix sockets never are."""
    return None if target.address.is_unix else context.server_tls


def for_cancel(context: Context, target: Target) -> ServerTls | None:
    """How a cancel request goes to the target of another connection: encrypted if and only if that one is,
    since its key lets anybody cancel who has seen it. The files are those of today, if there are any.
    """
    if target.tls is None:
        return None
    return replace(context.server_tls or target.tls, required=True)
