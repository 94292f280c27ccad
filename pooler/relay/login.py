"""How a client becomes one: start-up packets, who it is (`Lookup`), proof of that (`Authentication`), and the
welcome.

The order of the checks and the texts are PgBouncer's (docs/config.md of PgBouncer; reference messages in its
client.c), because scripts and drivers match them. A database or a user that does not exist is told apart only
after authentication.
"""

import secrets
from typing import Final

from pooler.pool.members import WELCOME
from pooler.pool.registry import ADMIN_DATABASE, Shutdown
from pooler.pool.replication import Replication
from pooler.relay.authentication import Authentication
from pooler.relay.cancelled import cancel_request
from pooler.relay.client import ClientConnection, ClientPhase
from pooler.relay.context import Context
from pooler.relay.encryption import Encryption
from pooler.relay.lookup import Lookup
from pooler.relay.server import ServerConnection
from pooler.relay.startup import StartupRefused, read_startup
from pooler.relay.tls import HANDSHAKE_RECORD
from pooler.wire import messages
from pooler.wire.errors import ProtocolError
from pooler.wire.framing import PASSWORD, TERMINATE

USER_NAME_LIMIT: Final = 128
"""Bytes of a user name, the terminating zero included (PgBouncer's MAX_USERNAME)."""

PASSWORD_MESSAGE_LIMIT: Final = 70_000
"""Bytes of a password or SASL message: PgBouncer takes passwords of up to 65,530 bytes."""


class ClientLogin(ClientPhase):
    """The life of a client before it may send queries."""

    def __init__(self, client: ClientConnection, is_owner: bool, peer_user: str = "") -> None:
        """`peer_user` is the account at the other end of a unix socket, and `is_owner` if it is our own."""
        self.client = client
        self.peer_user = peer_user
        self.context: Context = client.context
        self.registry = client.context.registry
        self.is_owner = is_owner
        self.buffer = bytearray()
        self.started = False
        self.busy = False
        """Something else has to happen before more is read."""
        self.user_name = ""
        self.own_user = False
        self.is_admin = False
        self.replication: Replication | None = None
        self.encryption = Encryption(client)
        self.authentication: Authentication | None = None
        """Untied when the login is over: nobody collects cycles of tens of thousands of clients at once."""

    # ClientPhase -------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of a start-up packet, a password, or things sent ahead."""
        self.buffer += data
        if self.busy:
            if len(self.buffer) > PASSWORD_MESSAGE_LIMIT:
                self.client.hold_reading()
            return
        self._go_on()

    def proceed(self) -> None:
        """A server for auth_query is linked, or the pool knows its welcome."""
        if self.client.greeted:
            self._welcome()
        elif self.client.link is not None:
            Lookup(self).ask_auth_query()

    def closed(self, refusal: str) -> None:
        """A check that is under way goes on for nobody; the connection keeps the counts."""
        self.buffer.clear()
        if self.authentication is not None:
            self.authentication.closed()
            self.authentication = None
        if refusal and self.started:
            database = self.client.database
            name = "" if database is None else database.name
            self.registry.failed_logins.add(refusal, name, self.user_name, self.client.remote.text())

    def cancelled(self) -> None:
        """There is no query yet."""

    # Packets -----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Handles complete packets for as long as the login lasts and waits for nothing."""
        client = self.client
        try:
            while not self.busy and not client.closed and client.phase is self:
                if self.started:
                    if not self._next_message():
                        return
                elif not self._next_packet():
                    return
        except ProtocolError as error:
            client.disconnect(str(error))

    def _next_packet(self) -> bool:
        """One packet without a type byte: StartupMessage, SSLRequest, GSSENCRequest or CancelRequest."""
        buffer = self.buffer
        if not buffer:
            return False
        if buffer[0] == HANDSHAKE_RECORD and self.encryption.is_offered:
            first = bytes(buffer)
            buffer.clear()
            self.encryption.start_directly(first)
            return False
        if buffer[0] != 0:
            self._message_too_early(buffer[0])
            return False
        if len(buffer) < 8:
            return False
        length = int.from_bytes(buffer[:4], "big")
        if length < 8 or length > messages.STARTUP_LIMIT:
            raise ProtocolError(f"bad packet header: '{buffer[:8].hex()}'")
        if len(buffer) < length:
            return False
        packet = bytes(buffer[4:length])
        del buffer[:length]
        self._packet(int.from_bytes(packet[:4], "big"), packet)
        return True

    def _message_too_early(self, kind: int) -> None:
        if kind == PASSWORD:
            self.client.disconnect("client password pkt before startup packet")
        else:
            self.client.disconnect(f"bad packet header: '{self.buffer[:8].hex()}'")

    def _packet(self, code: int, packet: bytes) -> None:
        client = self.client
        if code in (messages.SSL_REQUEST, messages.GSSENC_REQUEST):
            self.encryption.requested(code, sent_ahead=bool(self.buffer))
        elif code == messages.CANCEL_REQUEST:
            self.busy = cancel_request(client, packet[4:])
        elif code >> 16 == 3:
            self._startup(messages.parse_startup(packet))
        elif code >> 16 == 2:
            client.disconnect("old V2 protocol not supported")
        else:
            raise ProtocolError(
                f"bad packet header: '{(len(packet) + 4).to_bytes(4, 'big').hex()}{packet[:4].hex()}'"
            )

    def _next_message(self) -> bool:
        if self.buffer[:1] == b"\x00":
            self.client.disconnect("client re-sent startup pkt")
            return False
        for kind, body in messages.split(self.buffer, PASSWORD_MESSAGE_LIMIT):
            self._message(kind, body)
            return True
        return False

    def _message(self, kind: int, body: bytes) -> None:
        client = self.client
        if kind == TERMINATE:
            client.disconnect("client close request", notify=False)
        elif kind == PASSWORD and self.authentication is not None:
            self.authentication.answered(body)
        else:
            client.disconnect("bad packet")

    def go_on_reading(self) -> None:
        """What was waited for is there: first of all come the bytes that were sent ahead."""
        if self.client.closed:
            return
        self.client.release_reading()
        if self.client.phase is self:
            self._go_on()

    # Start-up ----------------------------------------------------------------------------------------------

    def _startup(self, startup: messages.Startup) -> None:
        client = self.client
        self.started = True
        try:
            wanted = read_startup(client, startup)
        except StartupRefused as refused:
            client.disconnect(str(refused))
            return
        self.replication = wanted.replication
        if self.encryption.is_missing:
            client.disconnect("SSL required")
            return
        settings = self.registry.settings
        if self.registry.client_count > settings.max_client_conn and wanted.database != ADMIN_DATABASE:
            client.disconnect("no more connections allowed (max_client_conn)")
            return
        if startup.minor_is_newer or wanted.extensions:
            client.send(messages.negotiate_protocol_version(wanted.extensions))
        self._identify(wanted.database, wanted.user)

    def _identify(self, database_name: str, user: str) -> None:
        client = self.client
        self.user_name = user
        lookup = Lookup(self)
        database = lookup.find_database(database_name)
        self.authentication = Authentication(self, database)
        if database.admin and lookup.admin_without_password():
            self.authenticate()
        elif client.closed:
            return
        elif len(messages.encode(user)) >= USER_NAME_LIMIT:
            client.disconnect("username too long")
        elif not self.authentication.begin_externally():
            lookup.find_user(database)

    def authenticate(self) -> None:
        """Who the client says it is has been found, or a stand-in for it."""
        assert self.authentication is not None
        self.authentication.begin()

    # In ----------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """The client is who it says it is."""
        client = self.client
        database = client.database
        assert database is not None
        if database.fake:
            if self.registry.settings.log_connections:
                self.registry.log.info(
                    f"login failed: db={database.name} user={self.user_name}", client.describe()
                )
            client.disconnect(f"no such database: {database.name}")
            return
        if database.disabled:
            client.disconnect(f'database "{database.name}" is disabled')
            return
        if self.registry.shutdown is not Shutdown.NONE and not database.admin:
            client.disconnect("pooler is shutting down")
            return
        pool = client.pool
        assert pool is not None
        if not database.admin:
            # Not before: auth_query runs on an ordinary server.
            client.replication = self.replication
        client.greeted = True
        client.move_last(pool.active_clients)
        pool.stats.client_login_count += 1
        if pool.welcome is not None or database.admin:
            self._welcome()
            return
        self.busy = True
        pool.enqueue(client, WELCOME)
        if not pool.paused and not client.closed:
            pool.launch()

    def _welcome(self) -> None:
        client = self.client
        pool = client.pool
        assert pool is not None
        pool.last_active_ns = client.request_ns
        client.cancel_key = self._new_cancel_key()
        if pool.database.admin:
            client.send(self.context.console_welcome(client.cancel_key, self._own_parameters()))
        else:
            parameters = self.registry.parameters
            client.params = parameters.filled(client.params, pool.defaults)
            client.send(
                self._welcome_messages(
                    self._own_server_welcome() or pool.welcome or messages.AUTHENTICATION_OK
                )
            )
        rest = bytes(self.buffer)
        self.buffer.clear()
        self.authentication = None
        client.phase = self.context.console(client, self.is_admin) if pool.database.admin else None
        client.release_reading()
        if rest:
            client.data_received(rest)

    def _own_server_welcome(self) -> bytes:
        """What the server has reported that logged in for this client alone."""
        server = self.client.link
        return server.welcome if isinstance(server, ServerConnection) else b""

    def _welcome_messages(self, start: bytes) -> bytes:
        client = self.client
        parts = [start]
        parts += (messages.parameter_status(name, value) for name, value in self._own_parameters())
        parts.append(messages.backend_key_data(client.cancel_key))
        if self.registry.settings.login_notify_message:
            parts.append(messages.notice(self.registry.settings.login_notify_message))
        parts.append(messages.READY_IDLE)
        return b"".join(parts)

    def _own_parameters(self) -> list[tuple[str, str]]:
        names = self.registry.parameters.names
        return [(n, value) for n, value in zip(names, self.client.params, strict=True) if value is not None]

    def _new_cancel_key(self) -> bytes:
        """Eight random bytes; the first four are taken for a process id by clients, so the sign bit stays
        clear.
        """
        while True:
            raw = secrets.token_bytes(8)
            key = bytes((raw[0] & 0x7F,)) + raw[1:]
            if key not in self.registry.cancel_keys:
                self.registry.cancel_keys[key] = self.client
                return key
