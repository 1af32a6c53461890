"""A client of the API over a real Valkey and a real store, without workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from redis import Redis

from shared.settings import Settings
from tests.support.api.client import local_client
from tests.support.api.rest import World


@pytest.fixture
def settings(redis_url: str, redis: Redis, tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, redis_url=redis_url, lease=1.0)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with local_client(settings) as one:
        yield one


@pytest.fixture
def world(client: TestClient) -> World:
    return World(cast(FastAPI, client.app).state.backend)
