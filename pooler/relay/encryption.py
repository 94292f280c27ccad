"""TLS from a client: what is answered to its requests for encryption, and its handshake."""

from typing import TYPE_CHECKING

from pooler.relay.client import ClientConnection
from pooler.relay.tls import ALPN_PROTOCOL, ClientTls, TlsTransport
from pooler.wire import messages

if TYPE_CHECKING:
    from pooler.relay.context import Context

_NAMES = {messages.SSL_REQUEST: "SSL", messages.GSSENC_REQUEST: "GSSAPI encryption"}


class Encryption:
    """Whether a client's connection is encrypted, from its first byte on."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        self._context: Context = client.context
        self._refused: set[int] = set()
        self._direct = False
        self.settings: ClientTls | None = None
        """As they were in the handshake, None without one: a RELOAD may change the certificate before the
        password comes.
        """

    @property
    def is_on(self) -> bool:
        """A handshake has begun, or is over."""
        return self.settings is not None

    @property
    def is_offered(self) -> bool:
        """The client may begin a handshake."""
        return self._context.client_tls is not None and not self._client.remote.is_unix and not self.is_on

    @property
    def is_missing(self) -> bool:
        """It would be required for this client, and there is none."""
        return self.is_offered and self._context.client_tls is not None and self._context.client_tls.required

    def requested(self, code: int, sent_ahead: bool) -> None:
        """An SSLRequest or a GSSENCRequest. What was `sent_ahead` of the answer was sent in the belief that
        it would be encrypted (CVE-2021-3935).
        """
        client, name = self._client, _NAMES[code]
        if code == messages.SSL_REQUEST and self.is_on:
            client.disconnect("SSL req inside SSL", notify=False)
        elif sent_ahead:
            client.disconnect(f"received unencrypted data after {name} request")
        elif code == messages.SSL_REQUEST and self.is_offered:
            client.send(b"S")
            self._start(b"")
        elif code in self._refused:
            client.disconnect(f"client sent a second {name} request")
        else:
            self._refused.add(code)
            client.send(b"N")

    def start_directly(self, first: bytes) -> None:
        """A handshake without an SSLRequest; it has to name the protocol (ALPN) that is meant."""
        if self._refused:
            self._client.disconnect("client started TLS after it was refused", notify=False)
            return
        self._direct = True
        self._start(first)

    def _start(self, first: bytes) -> None:
        client, settings = self._client, self._context.client_tls
        assert settings is not None
        self.settings = settings
        transport = TlsTransport(client.transport, client, settings.context, None, True, self._started)
        client.transport = transport
        transport.start(first)

    def _started(self, failure: str | None) -> None:
        client = self._client
        if client.closed:
            return
        if failure is not None:
            client.context.registry.failed_logins.add("TLS handshake failed", "", "", client.remote.text())
            client.disconnect(f"TLS handshake failed: {failure}", notify=False)
            return
        chosen = client.transport.get_extra_info("ssl_object").selected_alpn_protocol()
        if self._direct and chosen != ALPN_PROTOCOL:
            client.disconnect(
                "received direct TLS connection request without ALPN protocol negotiation extension"
            )
