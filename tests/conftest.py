"""Fixtures that several test folders share."""

from __future__ import annotations

import os

# Before torch comes: the models of the tests are small, so that threads wait for each other more
# than they compute, and beside another program the tests would take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from redis import Redis
from redis.exceptions import RedisError

from api.embedded import EmbeddedError, valkey_binary


@pytest.fixture(autouse=True)
def _log_of_servers_in_threads() -> None:
    """It goes past what a test captures: it is no part of the output of a command beside it."""
    structlog.reset_defaults()  # a test before may have configured it as a server does
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A real Valkey (or Redis) of the test session's own."""
    try:
        binary = valkey_binary()
    except EmbeddedError as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory(prefix="lineament-test-") as directory:
        socket = Path(directory) / "valkey"
        command = [
            binary,
            "--port",
            "0",
            "--unixsocket",
            str(socket),
            "--save",
            "",
            "--dir",
            directory,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            url = f"unix://{socket}"
            _wait_for(url)
            yield url
        finally:
            process.terminate()
            process.wait()


def _wait_for(url: str) -> None:
    for _ in range(200):
        try:
            with Redis.from_url(url, protocol=2) as client:
                client.ping()
            return
        except (RedisError, OSError):
            time.sleep(0.05)
    raise RuntimeError("the test's Valkey did not start")


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    """An empty database."""
    with Redis.from_url(redis_url, decode_responses=True, protocol=2) as client:
        client.flushall()
        yield client
