"""What a request leaves behind: ids on everything that it logs, a line for what it changed, a span.

No path, query or header is logged, as they are private to users; the route's template and the ids
of experiment and stage are.
"""

from __future__ import annotations

import re
import time
import uuid
from typing import Any

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from api.security.auth import READING
from shared.telemetry.traces import begin_experiment, note, span

_EXPERIMENT = re.compile(r"^/(?:v1/)?experiments/([\w.-]{1,120}-[0-9a-f]{10})(?:/|$)")
_STAGE = re.compile(r"/stages/([0-9a-f]{64})(?:/|$)")
UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})

log = structlog.get_logger()


class Trail:
    """Middleware that binds the ids, and logs a change once it was answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http" or scope["path"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        answered = _Answered(send)
        ids = ids_of(scope["path"])
        with (
            bound_contextvars(request=uuid.uuid4().hex, **ids),
            span(f"HTTP {scope['method']}", method=scope["method"], **ids) as traced,
        ):
            await self._app(scope, receive, answered.send)
            route = str(getattr(scope.get("route"), "path", "none"))
            note(traced, route=route, status=answered.status)
            if scope["method"] not in READING and answered.status < 400:
                _log_change(scope, route, answered)


def ids_of(path: str) -> dict[str, str]:
    """The experiment and the stage that a path names."""
    matches = {"experiment": _EXPERIMENT.search(path), "stage": _STAGE.search(path)}
    return {name: match[1] for name, match in matches.items() if match}


def _log_change(scope: Scope, route: str, answered: _Answered) -> None:
    """Log a change; the id of a new experiment is in the Location header."""
    created = ids_of(answered.headers.get("location", ""))
    caller = scope.get("state", {}).get("caller")
    log.info(
        "changed",
        method=scope["method"],
        route=route,
        status=answered.status,
        seconds=round(time.monotonic() - answered.began, 3),
        by=getattr(caller, "name", ""),
        **created,
    )
    if answered.status == 201 and "experiment" in created:
        begin_experiment(created["experiment"])


class _Answered:
    """Remembers how a request was answered."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.began = time.monotonic()
        self.status = 0
        self.headers: Any = Headers()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = Headers(raw=message["headers"])
        await self._send(message)
