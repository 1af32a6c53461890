"""Clients of an application in this process, as the tests of the API use them."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from api.app import create_app
from shared.settings import Settings

LOOPBACK = "127.0.0.1"


def local_client(settings: Settings, **options: Any) -> TestClient:
    """A client on this machine; options are TestClient's."""
    ends = {"base_url": f"http://{LOOPBACK}:8000", "client": (LOOPBACK, 50000)}
    return TestClient(create_app(settings), raise_server_exceptions=False, **{**ends, **options})
