"""A worker that is told to go, as a cluster does before it takes a container away."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.embedded import EmbeddedError, valkey_binary
from shared.records.artifacts import Artifacts
from shared.records.attempts import AttemptBook
from shared.settings import Settings
from tests.faults.cluster import WORKERS, Cluster, Program
from tests.faults.rounds import SPEC, wait_for_end
from tests.support.docker_engine import (
    NoEngineError,
    docker_engine,
    import_empty_image,
    python_container,
)

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


@pytest.fixture
def contained(tmp_path: Path) -> Iterator[tuple[Cluster, list[str]]]:
    """The same with each worker in a container of its own, and the docker command."""
    try:
        valkey_binary()
        with docker_engine() as docker:
            import_empty_image(docker)
            one = Cluster(tmp_path, local=tmp_path / "store", checkpoint=60)
            names = {name: f"{name}-{one.mark[:8]}" for name in WORKERS}
            try:
                for name in WORKERS:
                    program = one.programs[name]
                    program.command = python_container(
                        docker, names[name], program.command[1:], settings_of(program), tmp_path
                    )
                one.start()
                yield one, docker
            finally:
                one.stop()
                subprocess.run([*docker, "rm", "--force", *names.values()], capture_output=True)
    except (EmbeddedError, NoEngineError) as error:
        pytest.skip(str(error))


def settings_of(program: Program) -> dict[str, str]:
    """What a container is given of a program's environment."""
    wanted = ("LINEAMENT_", "PYTHONUNBUFFERED")
    return {key: value for key, value in program.environment.items() if key.startswith(wanted)}


@pytest.mark.slow
def test_a_stopped_container_leaves_in_time_and_the_next_goes_on_from_its_checkpoint(
    contained: tuple[Cluster, list[str]],
) -> None:
    cluster, docker = contained
    _, key = _submit_long(cluster)
    cluster.until(lambda: _steps(cluster, key) > 20, "the base to be trained for a while", 120)
    worker = _worker_of(cluster, docker)
    began = time.monotonic()

    subprocess.run([*docker, "stop", "--time", str(int(Settings().grace)), worker], check=True)
    left_after = time.monotonic() - began

    assert left_after < Settings().grace, "it left by itself and was not killed"
    inspect = [*docker, "inspect", "--format", "{{.State.ExitCode}}", worker]
    assert subprocess.run(inspect, capture_output=True, text=True).stdout.strip() == "0"
    cluster.until(lambda: _ended(cluster, key), "another container to finish the stage", 120)
    _check_resumed(cluster, key)
    print(f"the container left after {left_after:.1f} s")


@pytest.mark.slow
def test_sigterm_leaves_in_time_and_the_next_worker_goes_on_from_the_checkpoint(
    cluster: Cluster,
) -> None:
    number, key = _submit_long(cluster)
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
    step = _check_resumed(cluster, key)
    print(f"left after {left_after:.1f} s at step {step}")


def _check_resumed(cluster: Cluster, key: str) -> int:
    """The stage was left once and finished once, from the step at which it was left."""
    first, second = AttemptBook(cluster.store()).attempts(key)
    assert (first.ending, second.ending) == ("left", "committed")
    assert first.reached_step > 20
    assert second.from_step == first.reached_step, "it went on where the first one left"
    return first.reached_step


def _submit_long(cluster: Cluster) -> tuple[str, str]:
    """The experiment's id and the key of its long stage."""
    url = f"{cluster.url}/v1/experiments"
    answer = httpx.post(url, content=LONG, headers={"Content-Type": "application/yaml"}, timeout=60)
    answer.raise_for_status()
    number = answer.json()["id"]
    return number, _train_key(cluster, number)


def _ended(cluster: Cluster, key: str) -> bool:
    return Artifacts(cluster.store()).exists(key)


def _worker_of(cluster: Cluster, docker: list[str]) -> str:
    """The container with a stage in it: a worker, its pool process, the spawner and the stage."""
    names = [f"{name}-{cluster.mark[:8]}" for name in WORKERS]
    counts = {}
    for name in names:
        top = subprocess.run([*docker, "top", name], capture_output=True, text=True, check=True)
        counts[name] = len(top.stdout.splitlines())
    return max(names, key=lambda name: counts[name])


def _train_key(cluster: Cluster, number: str) -> str:
    rows = httpx.get(f"{cluster.url}/v1/experiments/{number}/stages", timeout=60).json()
    return next(row["key"] for row in rows if row["title"] == "train base")


def _steps(cluster: Cluster, key: str) -> float:
    with contextlib.suppress(Exception):
        progress = cluster.redis.get(f"lineament:progress:{key}")
        return float(json.loads(str(progress))["done"])
    return 0.0
