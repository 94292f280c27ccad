"""Logins that PAM or a directory checks: the client is asked for its password in clear text."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pooler.auth.client_login import LoginError, cleartext_request, read_password
from pooler.auth.external import Check, Done
from pooler.relay.client import ClientConnection

if TYPE_CHECKING:
    from pooler.auth.ldap_options import LdapOptions
    from pooler.relay.context import Context

Ask = Callable[[str, str, Done], Check]
"""Has somebody check a user's password, and is told later."""


class ExternalLogin:
    """One client's login; `confirmed` is called with the password when it has succeeded."""

    def __init__(
        self,
        client: ClientConnection,
        method: str,
        ask: Ask,
        user: str,
        confirmed: Callable[[str], None],
    ) -> None:
        self._client = client
        self._method = method
        self._ask = ask
        self._user = user
        self._confirmed = confirmed
        self._password = ""
        self._check: Check | None = None

    def begin(self) -> None:
        """Asks for the password."""
        self._client.send(cleartext_request())

    def password(self, body: bytes) -> None:
        """The client has answered."""
        try:
            self._password = read_password(body)
        except LoginError as error:
            self._client.disconnect(str(error))
            return
        self._check = self._ask(self._user, self._password, self._answered)

    def cancel(self) -> None:
        """The client is gone."""
        self._password = ""
        if self._check is not None:
            self._check.cancel()

    def _answered(self, success: bool, reason: str) -> None:
        client = self._client
        password, self._password = self._password, ""
        if client.closed:
            return
        if success:
            self._confirmed(password)
            return
        client.context.registry.log.error(f"{self._method} login failed: {reason}", client.describe())
        client.disconnect(f"{self._method} authentication failed")


def by_pam(context: "Context", client: ClientConnection) -> Ask:
    """The service `pgbouncer` of PAM."""
    host = client.remote.host
    return lambda user, password, done: context.external.check_pam(user, password, host, done)


def by_ldap(context: "Context", options: "LdapOptions") -> Ask:
    """A directory."""
    return lambda user, password, done: context.external.check_ldap(options, user, password, done)
