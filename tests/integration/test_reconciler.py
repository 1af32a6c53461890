"""The reconciler over a real Valkey and a real store; the test plays the workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis import Redis

from shared.experiments.experiments import Experiment, Experiments
from shared.experiments.reconciler import ROOM, Reconciler
from shared.plan import Plan, PlannedStage
from shared.queue.broker import make_app, queued
from shared.queue.leases import Leases, rung
from shared.records.artifacts import Artifacts, Manifest
from shared.settings import Settings
from shared.store import LocalStore


def stage(key: str, *inputs: str) -> PlannedStage:
    return PlannedStage(
        key=key, kind="add", service="trainer", version=1, parameters={}, title=key,
        inputs={f"part/{number}": name for number, name in enumerate(inputs)},
    )  # fmt: skip


class Scene:
    """A store, a Redis, and verbs that do what users and workers do."""

    def __init__(self, directory: Path, redis: Redis, url: str) -> None:
        self.store = LocalStore(directory / "store")
        self.redis = redis
        self.leases = Leases(redis, 10)
        self.app = make_app(Settings(data=directory, redis_url=url))
        self.experiments = Experiments(self.store)
        self.reconciler = self.another()

    def another(self) -> Reconciler:
        return Reconciler(self.store, self.leases, self.redis, self.app, poll=3600)

    def submit(self, name: str, *stages: PlannedStage) -> Experiment:
        return self.experiments.submit(name, {"name": name}, Plan(name=name, stages=stages))

    def queue(self) -> list[str]:
        return queued(self.redis)["trainer"]

    def take(self) -> str:
        """What a worker does with the next message: it takes the lease."""
        key = self.queue()[0]
        self.redis.rpop("trainer")
        assert self.leases.acquire(key, f"by {key}")
        return key

    def finish(self, key: str) -> None:
        manifest = Manifest(
            key=key, kind="add", version=1, parameters={}, inputs={}, files={}, results={},
            attempt="x", started="", finished="", seconds=0, cpu_seconds=0, peak_memory_bytes=0,
            host="", hardware={}, libraries={}, log="",
        )  # fmt: skip
        Artifacts(self.store).commit(manifest)
        self.leases.release(key, f"by {key}")

    def hints(self) -> list[str]:
        return self.leases.wait_for_bell(0.1)


@pytest.fixture
def scene(tmp_path: Path, redis: Redis, redis_url: str) -> Scene:
    return Scene(tmp_path, redis, redis_url)


def test_an_experiment_is_worked_off_by_hints_alone(scene: Scene) -> None:
    scene.submit("one", stage("a"), stage("b", "a"), stage("c", "b"))
    scene.reconciler.pass_once()
    worked = []
    while scene.queue():
        worked.append(scene.take())
        assert scene.reconciler.pass_once(scene.hints()) == 0, "it runs: nothing to ring"
        scene.finish(worked[-1])
        scene.reconciler.pass_once(scene.hints())
    assert worked == ["a", "b", "c"]


def test_two_reconcilers_ring_once(scene: Scene) -> None:
    scene.submit("one", stage("a"), stage("b"))
    assert scene.reconciler.pass_once() == 2
    assert scene.another().pass_once() == 0
    assert scene.queue() == ["a", "b"]


def test_after_a_flush_everything_is_rung_again(scene: Scene) -> None:
    scene.submit("one", stage("a"))
    scene.reconciler.pass_once()
    scene.redis.flushall()
    assert scene.reconciler.pass_once() == 1
    assert scene.queue() == ["a"]


def test_a_stage_that_crashed_is_rung_again_at_once_even_if_its_doorbell_was_rung_twice(
    scene: Scene,
) -> None:
    scene.submit("one", stage("a"))
    scene.reconciler.pass_once()
    scene.take()
    scene.redis.set(rung("a"), "1")  # a second reconciler did not see the lease yet
    assert not scene.leases.acquire("a", "the second message")
    scene.leases.release("a", "by a")
    assert scene.reconciler.pass_once(scene.hints()) == 1


def test_a_stage_that_was_put_off_is_not_rung(scene: Scene) -> None:
    scene.submit("one", stage("a"))
    scene.leases.put_off("a", most=300)
    assert scene.reconciler.pass_once() == 0


def test_a_thousand_ready_stages_leave_room_for_the_next_experiment(scene: Scene) -> None:
    scene.submit("large", *(stage(f"l{number}") for number in range(1000)))
    scene.reconciler.pass_once()
    assert len(scene.queue()) == ROOM
    scene.submit("small", stage("s"))
    for _ in range(2):
        scene.take()
    scene.reconciler.pass_once(["experiments"])
    assert "s" in scene.queue()


def test_cancelling_asks_the_running_stage_to_stop_unless_another_experiment_wants_it(
    scene: Scene,
) -> None:
    one = scene.submit("one", stage("a"), stage("b"))
    scene.submit("two", stage("b"))
    scene.reconciler.pass_once()
    assert {scene.take(), scene.take()} == {"a", "b"}
    scene.experiments.cancel(one.id)
    scene.reconciler.pass_once(["experiments"])
    assert scene.leases.asked_to_stop("a")
    assert not scene.leases.asked_to_stop("b")


def test_an_input_that_is_gone_is_made_again(scene: Scene) -> None:
    scene.submit("one", stage("a"), stage("b", "a"))
    scene.finish("a")
    scene.reconciler.pass_once()
    assert scene.queue() == ["b"]
    scene.take()
    scene.store.delete("stages/a/manifest.json")
    scene.leases.release("b", "by b")
    scene.reconciler.pass_once(["missing:a"])
    assert scene.queue() == ["a"]


def test_a_stage_without_a_description_gets_it_back_from_the_plan(scene: Scene) -> None:
    scene.submit("one", stage("a"))
    scene.store.delete("stages/a/stage.json")
    scene.reconciler.pass_once(["undescribed:a"])
    assert scene.store.stat("stages/a/stage.json") is not None


def test_an_experiment_that_was_deleted_and_submitted_again_is_worked_off_again(
    scene: Scene,
) -> None:
    one = scene.submit("one", stage("a"))
    scene.finish("a")
    scene.reconciler.pass_once()
    scene.experiments.delete(one, scene.leases)
    scene.store.delete("stages/a/manifest.json")
    scene.reconciler.pass_once(["experiments", "missing:a"])
    scene.submit("one", stage("a"))
    scene.reconciler.pass_once(["experiments"])
    assert scene.queue() == ["a"]
