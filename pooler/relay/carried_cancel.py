"""A cancel request of the pooler's own, on its way to a server."""

import asyncio
from typing import Any

from pooler.relay.address import Target
from pooler.relay.context import Context
from pooler.relay.server_tls import EncryptionRequest, for_cancel
from pooler.wire import messages


class CarriedCancel(asyncio.Protocol):
    """A connection for one request. No pool counts it: the server that it is for may be closed by then.

    `over` is done when there is nothing more to wait for. Then `certain` says whether the request has taken
    effect or was certainly not sent.
    """

    def __init__(self, context: Context, target: Target, key: bytes) -> None:
        self.context = context
        self.target = target
        self.transport: Any = None
        self.closed = False
        self.certain = True
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._key = key

    def connection_made(self, transport: Any) -> None:
        """Sends the request, encrypted if the connection is that it is for."""
        self.transport = transport
        tls = for_cancel(self.context, self.target)
        if tls is None:
            self._send()
        else:
            EncryptionRequest(self, tls, self._send).begin()

    def _send(self) -> None:
        self.certain = False
        self.transport.write(messages.cancel_request(self._key))

    def data_received(self, data: bytes) -> None:
        """Nobody answers a cancel request."""
        self.disconnect("the server has answered it", terminate=False)

    def eof_received(self) -> bool:
        """PostgreSQL has sent the signal before it closes the connection."""
        self.certain = True
        self.end()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Without an end of the stream: nobody knows what has become of the request."""
        self.end()

    def disconnect(self, reason: str, terminate: bool = True) -> None:
        """Gives up."""
        if self.closed:
            return
        log = self.context.registry.log
        log.warning(f"cannot carry a cancel request to {self.target.address.text()}: {reason}")
        self.end()

    def end(self) -> None:
        """Closes the connection, if there is one."""
        self.closed = True
        if self.transport is not None:
            self.transport.abort()
        if not self.over.done():
            self.over.set_result(None)

    def describe(self) -> str:
        """Its prefix in the log."""
        return f"cancel request to {self.target.address.text()}: "
