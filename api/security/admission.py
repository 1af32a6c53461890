"""Which requests are admitted: checked before any route is reached, so no route can forget it."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi_problem.error import Problem
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import answer
from api.security.auth import READING, Caller, Keys, NotAllowed
from api.security.limits import TooManyProblem
from api.security.rates import Rates
from api.security.startup import is_loopback
from shared.settings import Settings

HEALTH = frozenset({"/healthz", "/readyz", "/metrics"})


class TrustedHosts:
    """Starlette's check of the Host header, which stops pages that rebind their own DNS name to
    this server.

    The health routes answer to any name: a probe uses the address of its container.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        names = [name.strip() for name in settings.trusted_hosts.split(",") if name.strip()]
        self._checked = TrustedHostMiddleware(app, allowed_hosts=names, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 400."""
        app = self._app if scope.get("path") in HEALTH else self._checked
        await app(scope, receive, send)


class Admission:
    """Finds the caller, who is `request.state.caller` from here on, and refuses what must not pass.

    Refused are clients on other machines as long as no key is configured (unless the setting `open`
    admits them), changes that a page of another site requests, and requests above the caller's
    rate.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._keys = Keys(settings)
        self._rates = Rates(settings.redis_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with a problem document."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        problem = await self._refusal(request)
        app = self._app if problem is None else answer(request, problem)
        await app(scope, receive, send)

    async def _refusal(self, request: Request) -> Problem | None:
        if not (self._keys.configured or self._settings.open or is_local(request)):
            return NotAllowed(detail="no API key is configured, so only this machine may connect")
        if request.method not in READING and is_foreign(request.headers):
            return NotAllowed(detail="a page of another site sent this request")
        caller = await self._keys.caller(request)
        request.state.caller = caller
        if request.url.path in HEALTH:
            return None
        wait = await self._rates.wait(*self._counted(request, caller))
        if wait is None:
            return None
        return TooManyProblem(f"too many requests: wait {wait} seconds", wait)

    def _counted(self, request: Request, caller: Caller | None) -> tuple[str, str]:
        """The name under which a request is counted, and its rate."""
        if caller is not None and caller.name:
            return f"key {caller.name}", caller.rate
        host = request.client.host if request.client else ""
        return f"client {host}", self._settings.rate


def is_local(connection: HTTPConnection) -> bool:
    """True when both ends are loopback and no proxy forwards the request for another client."""
    server = connection.scope.get("server")
    ends = [connection.client.host if connection.client else "", server[0] if server else ""]
    forwarded = {"forwarded", "x-forwarded-for"} & set(connection.headers)
    return all(is_loopback(end) for end in ends) and not forwarded


def is_foreign(headers: Headers) -> bool:
    """True when a browser sends this for a page of another origin.

    Neither the loopback default nor a browser's remembered password can tell such a request from
    the user's own. The rules are those of Go's net/http.CrossOriginProtection: Sec-Fetch-Site
    decides, older browsers send only Origin, and what sends neither is no browser.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
