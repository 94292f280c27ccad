import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from pooler.config.settings import Settings
from pooler.service.dns import Address, Counts, HostRow, LookupFailed, Resolver
from pooler.service.log import Log

Found = list[tuple[int, int, int, str, tuple[Any, ...]]]


def v4(*hosts: str) -> Found:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in hosts]


def v6(*hosts: str, scope: int = 0) -> Found:
    return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, 0, 0, scope)) for host in hosts]


class FakeDNS:
    """Stands for the loop's getaddrinfo; a lookup waits until it is answered when ``held``."""

    def __init__(self) -> None:
        self.zone: dict[str, Found | Exception] = {}
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None

    async def getaddrinfo(self, host: str, port: int | None, **options: int) -> Found:
        assert (port, options) == (None, {"type": socket.SOCK_STREAM})
        self.asked.append(host)
        if self.held is not None:
            await self.held.wait()
        answer = self.zone.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if isinstance(answer, Exception):
            raise answer
        return answer


class World:
    """A resolver, and everything that it sees of the world."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dns: FakeDNS) -> None:
        self.dns = dns
        self.now = 1000.0
        self.settings = Settings(dns_max_ttl=15.0, dns_nxdomain_ttl=5.0)
        self.changes: list[tuple[str, list[Address]]] = []
        self.resolver = Resolver(
            loop,
            lambda: self.settings,
            Log(quiet=True),
            on_change=lambda host, gone: self.changes.append((host, gone)),
            clock=lambda: self.now,
        )

    async def hosts(self, name: str) -> list[str]:
        return [address.host for address in await self.resolver.resolve(name)]

    async def failure(self, name: str) -> LookupFailed:
        with pytest.raises(LookupFailed) as raised:
            await self.resolver.resolve(name)
        return raised.value


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> World:
    loop = asyncio.get_running_loop()
    dns = FakeDNS()
    monkeypatch.setattr(loop, "getaddrinfo", dns.getaddrinfo)
    return World(loop, dns)


async def settle() -> None:
    """Let everything run that can run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_name_becomes_addresses_with_their_family(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1", "10.0.0.2")
    assert await world.resolver.resolve("db") == [
        Address(socket.AF_INET, "10.0.0.1"),
        Address(socket.AF_INET, "10.0.0.2"),
    ]


async def test_calls_take_turns(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1", "10.0.0.2", "10.0.0.3")
    rounds = [await world.hosts("db") for _ in range(4)]
    assert [hosts[0] for hosts in rounds] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.1"]
    assert rounds[1] == ["10.0.0.2", "10.0.0.3", "10.0.0.1"]


async def test_waiting_callers_share_one_lookup_and_take_turns(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1", "10.0.0.2")
    world.dns.held = asyncio.Event()
    calls = [asyncio.create_task(world.hosts("db")) for _ in range(3)]
    await settle()
    assert world.resolver.counts() == Counts(names=1, zones=0, queries=1, pending=0)
    world.dns.held.set()
    assert [hosts[0] for hosts in await asyncio.gather(*calls)] == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert world.dns.asked == ["db"]
    assert world.resolver.counts() == Counts(names=1, zones=0, queries=0, pending=0)


async def test_a_caller_that_gives_up_leaves_the_lookup_to_the_others(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1")
    world.dns.held = asyncio.Event()
    first, second = (asyncio.create_task(world.hosts("db")) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    world.dns.held.set()
    assert await second == ["10.0.0.1"]
    assert world.dns.asked == ["db"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1"])
async def test_a_numeric_address_needs_no_lookup(world: World, host: str) -> None:
    assert await world.hosts(host) == [host]
    assert world.dns.asked == []
    assert world.resolver.rows() == []


async def test_an_answer_is_kept_for_dns_max_ttl(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1")
    await world.hosts("db")
    world.now += 15
    await world.hosts("db")
    assert world.dns.asked == ["db"]
    world.now += 0.1
    await world.hosts("db")
    assert world.dns.asked == ["db", "db"]


async def test_a_changed_ttl_counts_from_the_next_answer(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1")
    await world.hosts("db")
    world.settings = Settings(dns_max_ttl=100.0)
    world.now += 16
    await world.hosts("db")
    world.now += 99
    await world.hosts("db")
    assert world.dns.asked == ["db", "db"]


async def test_a_failure_is_remembered_for_dns_nxdomain_ttl(world: World) -> None:
    failure = await world.failure("db")
    assert (failure.host, failure.reason) == ("db", "Name or service not known")
    world.dns.zone["db"] = v4("10.0.0.1")
    world.now += 5
    await world.failure("db")
    assert world.dns.asked == ["db"]
    world.now += 0.1
    assert await world.hosts("db") == ["10.0.0.1"]


@pytest.mark.parametrize(
    "answer",
    [
        OSError(5, "Input/output error"),
        UnicodeError("label empty or too long"),
        ValueError("embedded null character"),
        [],
    ],
    ids=str,
)
async def test_whatever_goes_wrong_is_a_failed_lookup(world: World, answer: Exception | Found) -> None:
    world.dns.zone["db"] = answer
    assert (await world.failure("db")).reason
    assert world.resolver.counts().queries == 0


async def test_only_the_preferred_family_is_used(world: World) -> None:
    world.dns.zone["db"] = [*v6("fd00::1", "fd00::2"), *v4("10.0.0.1")]
    assert await world.hosts("db") == ["fd00::1", "fd00::2"]


async def test_an_address_that_comes_twice_has_one_turn(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1", "10.0.0.1", "10.0.0.2")
    assert await world.hosts("db") == ["10.0.0.1", "10.0.0.2"]


async def test_a_link_local_address_keeps_its_scope(world: World) -> None:
    world.dns.zone["db"] = v6("fe80::1", scope=3)
    assert await world.hosts("db") == ["fe80::1%3"]
    assert world.resolver.rows()[0].addrs == "[fe80::1]:0"


async def test_lost_addresses_are_reported_before_the_answer_is_used(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1", "10.0.0.2")
    await world.hosts("db")
    world.dns.zone["db"] = v4("10.0.0.2", "10.0.0.3")
    world.now += 16
    world.dns.held = asyncio.Event()
    caller = asyncio.create_task(world.hosts("db"))
    await settle()
    assert world.changes == []
    caller.add_done_callback(lambda _: world.changes.append(("used", [])))
    world.dns.held.set()
    assert await caller == ["10.0.0.2", "10.0.0.3"]
    await settle()
    assert world.changes == [("db", [Address(socket.AF_INET, "10.0.0.1")]), ("used", [])]


async def test_a_new_or_reordered_address_is_no_loss(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1", "10.0.0.2")
    await world.hosts("db")
    world.dns.zone["db"] = v4("10.0.0.2", "10.0.0.1", "10.0.0.3")
    world.now += 16
    await world.hosts("db")
    assert world.changes == []


async def test_a_failure_between_two_answers_hides_no_loss_and_is_none(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1")
    await world.hosts("db")
    del world.dns.zone["db"]
    world.now += 16
    await world.failure("db")
    assert world.changes == []
    world.dns.zone["db"] = v4("10.0.0.2")
    world.now += 16
    await world.hosts("db")
    assert world.changes == [("db", [Address(socket.AF_INET, "10.0.0.1")])]


async def test_rows_are_those_of_show_dns_hosts(world: World) -> None:
    world.dns.zone.update({"many": v4("10.0.0.1", "10.0.0.2"), "six": v6("::2")})
    await world.hosts("six")
    world.now += 3.5
    await world.hosts("many")
    await world.failure("gone")
    assert world.resolver.rows() == [
        HostRow("gone", 5, ""),
        HostRow("many", 15, "10.0.0.1:0,10.0.0.2:0"),
        HostRow("six", 11, "[::2]:0"),
    ]


async def test_rows_never_show_a_negative_ttl(world: World) -> None:
    world.dns.zone["db"] = v4("10.0.0.1")
    world.dns.held = asyncio.Event()
    caller = asyncio.create_task(world.hosts("db"))
    await settle()
    assert world.resolver.rows() == [HostRow("db", 0, "")]
    world.dns.held.set()
    await caller
    world.now += 1000
    assert world.resolver.rows() == [HostRow("db", 0, "10.0.0.1:0")]


async def test_close_cancels_the_lookups(world: World) -> None:
    world.dns.held = asyncio.Event()
    caller = asyncio.create_task(world.hosts("db"))
    await settle()
    world.resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert world.resolver.counts().queries == 0


async def test_a_failing_listener_does_not_wedge_the_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(host: str, gone: list[Address]) -> None:
        raise RuntimeError(host)

    listener: Callable[[str, list[Address]], None] = broken
    resolver = Resolver(
        asyncio.get_running_loop(),
        lambda: world.settings,
        Log(quiet=True),
        on_change=listener,
        clock=lambda: world.now,
    )
    world.dns.zone["db"] = v4("10.0.0.1")
    await resolver.resolve("db")
    world.dns.zone["db"] = v4("10.0.0.2")
    world.now += 16
    with pytest.raises(RuntimeError):
        await resolver.resolve("db")
    assert await resolver.resolve("db") == [Address(socket.AF_INET, "10.0.0.2")]
