"""What a StartupMessage asks for: the database, the user, parameters of the session, replication."""

from dataclasses import dataclass

from pooler.config.settings import list_contains
from pooler.pool.replication import Replication, ReplicationKind, parse_kind
from pooler.relay.client import ClientConnection
from pooler.relay.startup_options import OptionsError, parse_options
from pooler.wire.messages import Startup


class StartupRefused(Exception):
    """The text is for the client, and PgBouncer's where PgBouncer has one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Names as they came; `extensions` are the protocol extensions that were asked for."""

    database: str
    user: str
    replication: Replication | None
    extensions: list[str]


def read_startup(client: ClientConnection, startup: Startup) -> Wanted:
    """Takes over the session's parameters to the client, and returns the rest. Raises StartupRefused."""
    own = {"database": "", "user": "", "options": "", "replication": ""}
    application_name: str | None = None
    extensions: list[str] = []
    to_console = _is_for_console(client, dict(startup.parameters))
    for key, value in startup.parameters:
        if key in own:
            own[key] = value
        elif key == "application_name":
            application_name = value
        elif key.startswith("_pq_."):
            extensions.append(key)
        else:
            _take_parameter(client, key, value, to_console)
    replication = _replication(own["replication"], own["options"])
    if replication is None:
        _take_options(client, own["options"], to_console)
    _take_application_name(client, application_name)
    if not own["user"]:
        raise StartupRefused("no username supplied")
    return Wanted(own["database"] or own["user"], own["user"], replication, extensions)


def _is_for_console(client: ClientConnection, parameters: dict[str, str]) -> bool:
    """No server ever gets the parameters of a console client: any that drivers send do no harm."""
    name = parameters.get("database") or parameters.get("user")
    return name == client.context.registry.admin_pool.database.name


def _replication(value: str, options: str) -> Replication | None:
    """A replication client's options go to its server as they are, which need not be parameters that a
    pooler can follow.
    """
    if not value:
        return None
    try:
        kind: ReplicationKind | None = parse_kind(value)
    except ValueError as error:
        raise StartupRefused(str(error)) from error
    return None if kind is None else Replication(kind, options)


def _take_parameter(client: ClientConnection, name: str, value: str, to_console: bool) -> None:
    registry = client.context.registry
    if _track(client, name, value) or to_console:
        return
    if list_contains(registry.settings.ignore_startup_parameters, name):
        return
    registry.log.warning(f"unsupported startup parameter: {name}={value}", client.describe())
    raise StartupRefused(f"unsupported startup parameter: {name}")


def _take_options(client: ClientConnection, text: str, to_console: bool) -> None:
    registry = client.context.registry
    ignored = registry.settings.ignore_startup_parameters
    try:
        for name, value in parse_options(text):
            if (
                _track(client, name, value)
                or to_console
                or list_contains(ignored, name)
                or list_contains(ignored, "options")
            ):
                continue
            registry.log.warning(
                f"unsupported startup parameter in options: {name}={value}", client.describe()
            )
            raise StartupRefused(f"unsupported startup parameter in options: {name}")
    except OptionsError as error:
        raise StartupRefused(str(error)) from error


def _take_application_name(client: ClientConnection, name: str | None) -> None:
    if client.context.registry.settings.application_name_add_host:
        name = f"{'app' if name is None else name} - {client.remote.details()}"
    if name is not None:
        _track(client, "application_name", name)


def _track(client: ClientConnection, name: str, value: str) -> bool:
    parameters = client.context.registry.parameters
    place = parameters.position(name)
    if place is None:
        return False
    client.params = parameters.with_value(client.params, place, value)
    return True
