"""Clients that leave in the middle of an answer."""

from __future__ import annotations

from anyio import BrokenResourceError
from starlette.types import ASGIApp, Receive, Scope, Send


class Departures:
    """Lets a client leave an event stream without an error.

    FastAPI's keep-alive of such a stream fails on its closed channel when the client is gone. That
    would be a trace in the log and a 500 in the metrics for every page that is closed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        try:
            await self._app(scope, receive, send)
        except* BrokenResourceError:
            pass
