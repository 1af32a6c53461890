"""A worker that is told to go, as a cluster does before it takes a container away."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.embedded import EmbeddedError, valkey_binary
from shared.attempts import AttemptBook
from shared.settings import Settings
from tests.faults.cluster import WORKERS, Cluster
from tests.faults.rounds import SPEC, wait_for_end

# The base is trained for so long that a worker is told to go in the middle of it.
LONG = SPEC.replace(b"epochs: 3", b"epochs: 40").replace(b"name: faults", b"name: drain")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    try:
        valkey_binary()
    except EmbeddedError as error:
        pytest.skip(str(error))
    one = Cluster(tmp_path, local=tmp_path / "store", checkpoint=60)  # only the one of leaving
    try:
        one.start()
        yield one
    finally:
        one.stop()


@pytest.mark.slow
def test_sigterm_leaves_in_time_and_the_next_worker_goes_on_from_the_checkpoint(
    cluster: Cluster,
) -> None:
    url = f"{cluster.url}/v1/experiments"
    answer = httpx.post(url, content=LONG, headers={"Content-Type": "application/yaml"}, timeout=60)
    answer.raise_for_status()
    number = answer.json()["id"]
    key = _train_key(cluster, number)
    cluster.until(lambda: _steps(cluster, key) > 20, "the base to be trained for a while", 120)
    (worker,) = (name for name in WORKERS if len(cluster.family(name)) > 3)
    began = time.monotonic()

    cluster.send(worker, signal.SIGTERM)
    process = cluster.programs[worker].process
    assert process is not None
    process.wait(Settings().grace)
    left_after = time.monotonic() - began

    assert left_after < Settings().grace
    wait_for_end(cluster, number)
    first, second = AttemptBook(cluster.store()).attempts(key)
    assert (first.ending, second.ending) == ("left", "committed")
    assert first.reached_step > 20
    assert second.from_step == first.reached_step, "it went on where the first one left"
    print(f"left after {left_after:.1f} s at step {first.reached_step}")


def _train_key(cluster: Cluster, number: str) -> str:
    rows = httpx.get(f"{cluster.url}/v1/experiments/{number}/stages", timeout=60).json()
    return next(row["key"] for row in rows if row["title"] == "train base")


def _steps(cluster: Cluster, key: str) -> float:
    with contextlib.suppress(Exception):
        progress = cluster.redis.get(f"lineament:progress:{key}")
        return float(json.loads(str(progress))["done"])
    return 0.0
