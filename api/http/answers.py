"""What every answer has in common: security headers, and every error as a problem document."""

from __future__ import annotations

import re
from http import HTTPMethod, HTTPStatus

from fastapi_problem.error import Problem
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.problems import answer

# QUERY is too new for the enumeration. A method that is known is a 405 where it is not allowed;
# 501 is for those that the server has never heard of (RFC 9110, 9.1).
METHODS = frozenset(method.value for method in HTTPMethod) | {"QUERY"}

_NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# A report carries its scripts and what models wrote. In a sandbox it has no origin: whatever its
# scripts do, they cannot use the reader's key.
REPORT = (
    f"{_NOTHING}; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; sandbox allow-scripts allow-downloads allow-popups"
)
DATA = f"{_NOTHING}; sandbox"
DOCS = (  # FastAPI's page: Swagger UI from its CDN, started by an inline script
    "default-src 'none'; script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'unsafe-inline' https://cdn.jsdelivr.net; img-src 'self' data: "
    "https://fastapi.tiangolo.com; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
POLICIES = (  # the first that fits
    (re.compile(r"/v1/"), DATA),
    (re.compile(r"/experiments/[^/]+/report/"), REPORT),
    (re.compile(r"/docs$"), DOCS),
)
COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Answers:
    """Middleware that adds the headers and turns plain-text errors into problem documents."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless its method is unknown.

        Further in, every method becomes a label of a metric, and labels must be bounded.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        outgoing = _Outgoing(Request(scope), receive, send)
        try:
            if scope["method"] not in METHODS:
                raise Problem("Not implemented.", detail="an unknown method", status=501)
            await self._app(scope, receive, outgoing.send)
        except Exception as error:
            if outgoing.started:  # too late for an answer: the server cuts the connection
                raise
            await answer(outgoing.request, error)(scope, receive, outgoing.send)


class _Outgoing:
    """Sends the answer to one request."""

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self.request = request
        self._receive = receive
        self._send = send
        self.started = False
        self._replaced: int | None = None  # status of a plain-text error; its body is dropped

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            plain = headers.get("content-type", "").startswith("text/plain")
            if message["status"] >= HTTPStatus.BAD_REQUEST and plain:
                self._replaced = message["status"]
                return
            self.started = True
            add_headers(headers, self.request.url.path)
        elif self._replaced is not None:
            if not message.get("more_body"):
                await self._send_problem(self._replaced, message.get("body", b""))
            return
        await self._send(message)

    async def _send_problem(self, status: int, text: bytes) -> None:
        self.started = True
        phrase = HTTPStatus(status).phrase
        response = answer(
            self.request, Problem(f"{phrase}.", detail=text.decode(errors="replace"), status=status)
        )
        add_headers(response.headers, self.request.url.path)
        await response(self.request.scope, self._receive, self._send)


def add_headers(headers: MutableHeaders, path: str) -> None:
    """Add the security headers that an answer does not have yet."""
    policy = next((policy for pattern, policy in POLICIES if pattern.match(path)), PAGE)
    for name, value in {**COMMON, "Content-Security-Policy": policy}.items():
        headers.setdefault(name, value)
