"""`pooldeck console --web`: the console in a browser, each page a process of its own, by textual-serve.

textual-serve asks nobody who he is, and any web page that is open in a browser may connect to a port of this
machine. So whoever comes needs the token that is in the address, and a page of ours.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from textual_serve.server import Server

HOST: Final = "127.0.0.1"
COOKIE: Final = "pooldeck-{port}"
SHUTDOWN_SECONDS: Final = 2.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self' ws://{host}:{port}; frame-ancestors 'none'"
)
"""The page of textual-serve asks for a font elsewhere; nobody need know who looks at a pooler."""


class ConsoleServer(Server):
    """Runs `command` for each page that is opened with the right token."""

    def __init__(self, command: str, port: int, title: str) -> None:
        super().__init__(command, host=HOST, port=port, title=title)
        self._token = secrets.token_urlsafe(24)
        self._cookie = COOKIE.format(port=port)

    @property
    def address(self) -> str:
        """What to open in the browser."""
        return f"{self.public_url}/?token={self._token}"

    def serve(self, debug: bool = False) -> None:
        """Serve until SIGINT or SIGTERM. Requests are not logged: the token is in them."""
        web.run_app(
            self._make_app(),
            host=self.host,
            port=self.port,
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
            print=lambda text: self._announce(),
        )

    async def on_startup(self, app: web.Application) -> None:
        """Nobody can connect yet: nothing is said before `serve` listens."""

    def _announce(self) -> None:
        self.console.print(f"The console is at {self.address}", soft_wrap=True, highlight=False)
        self.console.print("Ctrl+C ends it, and every session of it.")

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._check(request, handler)

        app.middlewares.append(check)
        return app

    async def _check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._refuse_strangers(request)
        if "token" in request.query:
            return self._let_in()
        response = await handler(request)
        if not response.prepared:
            response.headers["Content-Security-Policy"] = _POLICY.format(host=self.host, port=self.port)
            response.headers["Referrer-Policy"] = "no-referrer"
        return response

    def _refuse_strangers(self, request: web.Request) -> None:
        """Raises HTTPForbidden unless it is for our own address, from our own page, with the token."""
        own = f"{self.host}:{self.port}"
        origin = request.headers.get("Origin")
        token = request.query.get("token") or request.cookies.get(self._cookie, "")
        if request.host != own or (origin is not None and origin != f"http://{own}"):
            raise web.HTTPForbidden(text=f"This is a console of {self.public_url} alone.")
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            raise web.HTTPForbidden(text="Open the address that pooldeck has printed: it has a token in it.")

    def _let_in(self) -> web.StreamResponse:
        """The token goes into a cookie, and out of the address, which browsers remember."""
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(self._cookie, self._token, httponly=True, samesite="Strict")
        return response


def run_web(command: str, port: int, title: str) -> int:
    """Serve until Ctrl+C. Raises OSError if the port is taken."""
    ConsoleServer(command, port, title).serve()
    return 0
