"""The stores that the contract is checked on."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.store import LocalStore, Store
from shared.store.s3.s3 import S3Store
from tests.support.proxy import FaultyProxy
from tests.support.s3_servers import free_port, start_ministack, start_moto, stop

PART = 5 << 20  # bytes; the smallest part that S3 takes


@pytest.fixture(scope="session")
def ministack_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    process = start_ministack(tmp_path_factory.mktemp("ministack"), port)
    yield port
    stop(process)


@pytest.fixture(scope="session")
def moto_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    process = start_moto(tmp_path_factory.mktemp("moto"), port)
    yield port
    stop(process)


def new_bucket() -> str:
    """A name that no other test has."""
    return f"test-{uuid.uuid4().hex}"


def s3_store(port: int, **changes: Any) -> S3Store:
    """A store in a bucket of its own, with little patience so that failing is quick."""
    options: dict[str, Any] = {
        "endpoint": f"http://127.0.0.1:{port}",
        "bucket": new_bucket(),
        "access_key": "test",
        "secret_key": "test",
        "part_size": PART,
        "patience": 1.5,
        "read_timeout": 20.0,
        **changes,
    }
    return S3Store(**options)


@pytest.fixture(params=["local", "ministack", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store; every test that takes it runs on each kind."""
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    made = s3_store(request.getfixturevalue(f"{request.param}_port"))
    made.ensure_bucket()
    return made


@pytest.fixture
def proxy(ministack_port: int) -> Iterator[FaultyProxy]:
    """A faulty way to ministack."""
    with FaultyProxy(0, ministack_port) as made:
        yield made


@pytest.fixture
def bucket() -> str:
    """The bucket of the test."""
    return new_bucket()


@pytest.fixture
def faulty(proxy: FaultyProxy, bucket: str) -> S3Store:
    """An empty store behind the faulty proxy."""
    made = s3_store(proxy.port, bucket=bucket)
    made.ensure_bucket()
    proxy.seen.clear()
    return made


@pytest.fixture
def another() -> Callable[..., S3Store]:
    """Makes a store, see s3_store."""
    return s3_store
