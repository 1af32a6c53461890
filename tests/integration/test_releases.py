"""Workers of two releases on the same queues: each computes what its own code means, no more."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from shared.experiments.experiments import Experiments
from shared.experiments.reconciler import Reconciler
from shared.plan import Plan, PlannedStage, make_plan
from shared.plan.graph import stage_key
from shared.queue.broker import make_app, queued
from shared.queue.leases import Leases, rung
from shared.records.artifacts import Artifacts
from shared.records.attempts import AttemptBook
from shared.records.releases import CAUSES
from shared.settings import Settings
from shared.stages.kinds import VERSIONS
from shared.store import LocalStore
from shared.telemetry.metrics import WorkerMetrics
from shared.worker import release as module
from shared.worker.release import read_stage
from shared.worker.spawner import Spawner
from shared.worker.supervisor import Supervisor
from tests.support.fake_services import PACKAGE
from tests.support.specs import resolved

OLD, NEW = {"add": 1}, {"add": 2}


class Scene:
    """A store and a Redis with workers of two releases."""

    def __init__(self, directory: Path, redis: Redis, url: str, spawner: Spawner) -> None:
        self.settings = Settings(data=directory, redis_url=url, lease=1.0)
        self.store = LocalStore(directory / "store")
        self.redis = redis
        self.leases = Leases(redis, 1.0)
        self.book = AttemptBook(self.store)
        self.spawner = spawner
        self.metrics = WorkerMetrics()

    def worker(self, versions: dict[str, int]) -> Supervisor:
        return Supervisor(
            self.settings, self.store, self.leases, self.spawner, self.metrics, lambda: False,
            versions,
        )  # fmt: skip

    def plan(self, kind: str = "add", version: int = 2, **more: Any) -> str:
        """A planned stage, as the API stores it; returns its key."""
        parameters = more.pop("parameters", {"value": 3})
        inputs = more.pop("inputs", {})
        key = stage_key(kind, version, parameters, inputs)
        stage = {
            "key": key, "kind": kind, "service": "fake", "version": version, "title": kind,
            "parameters": parameters, "inputs": inputs,
        }  # fmt: skip
        self.store.put(f"stages/{key}/stage.json", json.dumps(stage | more).encode())
        return key

    def declined(self) -> dict[str, float]:
        """How many doorbells were declined, by cause."""
        name = "lineament_stages_declined_total"
        found = {
            cause: self.metrics.registry.get_sample_value(name, {"cause": cause})
            for cause in CAUSES
        }
        return {cause: value for cause, value in found.items() if value}


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    one = Spawner(["fake"], threads=1, package=PACKAGE)
    yield one
    one.close()


@pytest.fixture
def scene(tmp_path: Path, redis: Redis, redis_url: str, spawner: Spawner) -> Scene:
    return Scene(tmp_path, redis, redis_url, spawner)


@pytest.mark.parametrize(("planned", "own"), [(2, OLD), (1, NEW)])
def test_a_stage_of_another_version_is_neither_computed_nor_failed_nor_leased(
    scene: Scene, planned: int, own: dict[str, int]
) -> None:
    key = scene.plan(version=planned)

    assert [scene.worker(own).run(key) for _ in range(5)] == [None] * 5

    assert not Artifacts(scene.store).exists(key)
    assert not scene.book.failed(key)
    assert scene.leases.live([key]) == {}
    assert scene.book.fruitless(key, 0) == 0
    assert scene.declined() == {"version": 5}


def test_it_is_put_aside_for_seconds_however_often_the_wrong_worker_took_it(scene: Scene) -> None:
    key, worker = scene.plan(), scene.worker(OLD)
    for _ in range(12):
        worker.run(key)
    remaining = scene.redis.pttl(rung(key))
    assert 0 < int(str(remaining)) <= 3000


def test_the_stage_shows_once_for_all_old_workers_why_it_waits(scene: Scene) -> None:
    key = scene.plan()
    for worker in (scene.worker(OLD), scene.worker(OLD)):
        for _ in range(3):
            worker.run(key)
    (attempt,) = scene.book.attempts(key)
    assert attempt.ending == "hindered"
    assert attempt.reason == (
        "this worker is of another release: it computes add in version 1, version 2 is planned"
    )


def test_the_right_worker_gets_it_though_the_wrong_one_is_always_first(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSE", 0.2)
    key = scene.plan()
    stage = PlannedStage.model_validate_json(scene.store.get(f"stages/{key}/stage.json"))
    plan = Plan(name="one", stages=(stage.model_copy(update={"service": "trainer"}),))
    Experiments(scene.store).submit("one", {}, plan)
    app = make_app(scene.settings)
    reconciler = Reconciler(scene.store, scene.leases, scene.redis, app, poll=0.1)
    workers = [scene.worker(OLD), scene.worker(OLD), scene.worker(NEW)]
    endings: list[str | None] = []
    end = time.monotonic() + 10
    while len(endings) < 3 and time.monotonic() < end:
        reconciler.pass_once(reconciler.wait())
        if queued(scene.redis)["trainer"]:
            scene.redis.rpop("trainer")
            endings.append(workers[len(endings)].run(key))
    assert endings == [None, None, "committed"]


def test_an_attempt_by_the_right_worker_commits_after_the_others_left_it(scene: Scene) -> None:
    key = scene.plan()
    scene.worker(OLD).run(key)
    assert scene.worker(NEW).run(key) == "committed"
    assert [one.ending for one in scene.book.attempts(key)] == ["hindered", "committed"]


@pytest.mark.parametrize(
    ("cause", "planned"),
    [
        ("kind", {"kind": "probe", "version": 1}),
        ("format", {"version": 1, "accelerator": "any"}),
        ("parameters", {"kind": "checkpoint", "version": 1, "parameters": {"step": 1, "x": 2}}),
    ],
)
def test_what_a_worker_does_not_know_it_leaves_alone(
    scene: Scene, cause: str, planned: dict[str, Any]
) -> None:
    key = scene.plan(**planned)
    assert scene.worker({"add": 1, "checkpoint": 1}).run(key) is None
    assert scene.declined() == {cause: 1}
    assert not scene.book.failed(key)
    assert len(scene.book.attempts(key)) == 1


def test_an_input_that_a_newer_release_described_in_its_own_way_is_left_to_its_workers(
    scene: Scene,
) -> None:
    first = scene.plan(version=1)
    scene.store.put(f"stages/{first}/manifest.json", b'{"format": 2}')
    key = scene.plan(version=1, inputs={"part/0": first})
    assert scene.worker(OLD).run(key) is None
    assert scene.declined() == {"format": 1}


def test_a_worker_takes_every_stage_that_its_own_release_plans() -> None:
    for stage in make_plan(resolved()).stages:
        assert read_stage(stage.model_dump_json().encode(), VERSIONS) == stage


def test_an_attempt_in_words_of_a_newer_release_counts_neither_way(scene: Scene) -> None:
    key = scene.plan()
    newer = {"attempt": "a", "host": "box", "started": "2030", "ending": "evicted"}
    scene.store.put(f"stages/{key}/attempts/a.json", json.dumps(newer).encode())
    assert scene.worker(NEW).run(key) == "committed"
    assert [one.ending for one in scene.book.attempts(key)] == ["committed"]
