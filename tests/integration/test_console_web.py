"""`pooldeck console --web`: a page of our own gets a session, and nobody else does."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from cli.demo.throwaway import ReservedPort
from tests.conftest import PoolerFactory
from tests.integration.test_console_command import PROGRAM, without_terminal
from tests.support.bouncer import ADMIN, PoolerProcess
from tests.support.terminal import Terminal, plain_environment


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    return pooler(settings={"pool_mode": "transaction", "auth_type": "scram-sha-256"})


class Site:
    """The server, on a port of its own, and what it printed."""

    def __init__(self, terminal: Terminal, port: int) -> None:
        self.terminal = terminal
        self.origin = f"http://127.0.0.1:{port}"
        terminal.expect("Ctrl+C ends it")
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", terminal.text)
        assert found is not None
        self.address = found[0]


@pytest.fixture
def site(process: PoolerProcess, tmp_path: Path) -> Iterator[Site]:
    with closing(ReservedPort()) as reserved:
        command = [*PROGRAM, "--web", "--port", str(reserved.number)]
        target = process.dsn("pgbouncer", user=ADMIN, password="admin-password")
        with Terminal([*command, target], plain_environment(HOME=tmp_path)) as terminal:
            yield Site(terminal, reserved.number)


async def shown(socket: aiohttp.ClientWebSocketResponse, text: str) -> str:
    """Everything that was sent to the page until `text` was."""
    written = ""
    async with asyncio.timeout(30):
        while text not in written:
            message = await socket.receive()
            assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), (message, written)
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            written += re.sub(rb"\x1b\[[0-?]*[ -/]*[@-~]", b"", data).decode("utf-8", "replace")
    return written


async def test_a_page_shows_the_pooler_and_may_not_act(site: Site) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(site.address) as page:
            assert page.status == 200
            assert str(page.url) == f"{site.origin}/"
            assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        async with browser.ws_connect(f"{site.origin}/ws?width=120&height=40", origin=site.origin) as page:
            written = await shown(page, "live")
            assert "read-only" in written.lower()
            await page.send_str(json.dumps(["stdin", "q"]))
            async with asyncio.timeout(30):
                while (await page.receive()).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                    pass


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Host": "elsewhere.example"},
        {"Cookie": "pooldeck-1=x"},
        {"Cookie": ""},
    ],
    ids=lambda headers: next(iter(headers)),
)
async def test_strangers_get_nothing(site: Site, headers: dict[str, str]) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        if "Cookie" not in headers:
            async with browser.get(site.address):
                pass
        for path in ("/", "/ws", "/static/js/textual.js"):
            async with browser.get(site.origin + path, headers=headers) as answer:
                assert answer.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await browser.ws_connect(f"{site.origin}/ws", headers=headers)
        assert caught.value.status == 403


def children(pid: int) -> list[str]:
    """The command lines of the processes that this one has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in text.split()]


async def test_the_password_is_on_no_command_line_and_sessions_end_with_the_page(site: Site) -> None:
    server = site.terminal.process.pid
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        async with browser.get(site.address):
            pass
        async with browser.ws_connect(f"{site.origin}/ws", origin=site.origin) as page:
            await shown(page, "live")
            (command,) = children(server)
            assert "--read-only" in command
            assert "admin-password" not in command
    async with asyncio.timeout(30):
        while children(server):
            await asyncio.sleep(0.05)
    site.terminal.process.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(site.terminal.wait) == 0


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done: Any = without_terminal("--web", "--port", str(port), "host=127.0.0.1", HOME=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"pooldeck: cannot listen on port {port}: ")
