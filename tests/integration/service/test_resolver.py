"""The resolver over the real resolver library, under the loop that the pooler uses."""

import asyncio

import pytest
import uvloop

from pooler.config.settings import Settings
from pooler.service.dns import LookupFailed, Resolver
from pooler.service.log import Log


def resolve(host: str) -> list[str]:
    async def look_up() -> list[str]:
        resolver = Resolver(asyncio.get_running_loop(), Settings, Log(quiet=True))
        return [address.host for address in await resolver.resolve(host)]

    return uvloop.run(look_up())


def test_localhost_is_this_machine() -> None:
    assert set(resolve("localhost")) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["none.invalid", "", "a..b", "x" * 70, "a\0b", "\udcff"])
def test_a_name_without_an_address_fails(host: str) -> None:
    with pytest.raises(LookupFailed):
        resolve(host)
