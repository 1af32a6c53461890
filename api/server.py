"""The API as a process: `python -m api.server`, for containers and for `lineament serve`.

Exit codes: 2 for a wrong setting, an address that may not be served or a store that does not keep
conditional creates; 75 when the store does not answer.
"""

from __future__ import annotations

import logging
import socket
import sys
from typing import Annotated

import typer
import uvicorn

from api.app import create_app
from api.security.startup import AddressError, check_address
from shared.settings import Settings, SettingsError
from shared.store import StoreError, UnfitStoreError
from shared.telemetry.logs import configure_logging
from shared.telemetry.traces import configure_tracing, shut_tracing

BAD_INPUT = 2
AWAY = 75  # EX_TEMPFAIL: the store does not answer; worth another start
GRACE = 3  # seconds for open answers after SIGTERM; event streams are cut, and resume elsewhere


def server_config(settings: Settings, host: str, port: int, fd: int | None) -> uvicorn.Config:
    """How uvicorn serves the application: no access log, since paths and queries are users' own."""
    return uvicorn.Config(
        create_app(settings),
        host=host,
        port=port,
        fd=fd,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=GRACE,
    )


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8000,
    fd: Annotated[
        int | None, typer.Option(help="File descriptor of a listening socket to use instead.")
    ] = None,
) -> None:
    """Serve the API and the pages over the configured store and Redis."""
    configure_logging(logging.INFO)
    try:
        settings = Settings()
        listener = None if fd is None else _inherited(fd)
        check_address(settings, host if listener is None else str(listener.getsockname()[0]))
    except (SettingsError, AddressError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(BAD_INPUT) from None
    try:
        configure_tracing("api", settings.trace_endpoint)
        server = uvicorn.Server(server_config(settings, host, port, fd))
    except (UnfitStoreError, StoreError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(BAD_INPUT if isinstance(error, UnfitStoreError) else AWAY) from None
    try:
        server.run(sockets=None if listener is None else [listener])
    finally:
        shut_tracing()


def _inherited(fd: int) -> socket.socket:
    """A listening socket that another process has opened.

    asyncio switches Nagle's algorithm off only on sockets that it knows to be TCP, and uvicorn
    would take this one for a Unix socket: every answer on a connection that stays open took 40 ms.
    """
    return socket.socket(proto=socket.IPPROTO_TCP, fileno=fd)


if __name__ == "__main__":
    typer.run(serve)
