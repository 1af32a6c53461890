"""Experiments that a newer release wrote: one of them stops nobody who works on the others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from fastapi.testclient import TestClient
from redis import Redis
from structlog.testing import capture_logs
from typer.testing import CliRunner

from api.cli.main import app
from shared.experiments.experiments import Experiments
from shared.experiments.garbage import Collector
from shared.experiments.reconciler import Reconciler
from shared.plan import Plan, PlannedStage
from shared.queue.broker import make_app, queued
from shared.queue.leases import Leases, LiveLog
from shared.records.releases import OtherReleaseError
from shared.records.uploads import UploadStore
from shared.settings import Settings
from shared.stages.kinds import SERVICES
from shared.store import LocalStore, Store
from shared.telemetry.metrics import ReconcilerMetrics
from tests.support.api.rest import SPEC, World, changed, serving, submit

WORDS = "was written by a newer release of Lineament, which this one cannot read"


def newer(store: Store, number: str, *path: str | int, value: Any = 1) -> None:
    """Rewrite an experiment as a newer release might, with a value at a path of its record."""
    name = f"experiments/{number}/experiment.json"
    record = json.loads(store.get(name))
    place = record
    for word in path[:-1]:
        place = place[word]
    place[path[-1]] = value
    store.put(name, json.dumps(record).encode())


NEWER = [
    ("plan", "stages", 0, "accelerator"),
    ("plan", "priority"),
    ("plan", "version"),
]


def stage(key: str, service: str = "trainer") -> PlannedStage:
    return PlannedStage(
        key=key, kind="add", service=service, version=1, parameters={}, title=key, inputs={}
    )


class Counting(LocalStore):
    """A store that counts how often experiments are read."""

    reads = 0

    def get(self, name: str) -> bytes:
        self.reads += name.endswith("experiment.json")
        return super().get(name)


class Scene:
    """A reconciler with its metrics over a store and a Redis."""

    def __init__(self, directory: Path, redis: Redis, url: str) -> None:
        self.redis = redis
        self.store = Counting(directory / "store")
        self.metrics = ReconcilerMetrics(SERVICES)
        self.experiments = Experiments(self.store)
        celery = make_app(Settings(data=directory, redis_url=url))
        leases = Leases(redis, 10)
        self.reconciler = Reconciler(self.store, leases, redis, celery, 0.001, self.metrics)

    def submit(self, name: str, *stages: PlannedStage) -> str:
        plan = Plan(name=name, stages=stages)
        return self.experiments.submit(name, {"name": name}, plan).id

    def count(self, state: str) -> float | None:
        return self.metrics.registry.get_sample_value("lineament_experiments", {"state": state})


@pytest.fixture
def scene(tmp_path: Path, redis: Redis, redis_url: str) -> Scene:
    return Scene(tmp_path, redis, redis_url)


# -------------------------------------------------------------------------------- reconciler


@pytest.mark.parametrize("path", NEWER, ids=lambda path: ".".join(map(str, path)))
def test_the_reconciler_serves_the_others_and_counts_the_one_it_cannot_read(
    scene: Scene, path: tuple[str | int, ...]
) -> None:
    newer(scene.store, scene.submit("new", stage("a")), *path, value=2)
    scene.submit("old", stage("b"))

    scene.reconciler.pass_once()

    assert queued(scene.redis)["trainer"] == ["b"]
    assert (scene.count("unreadable"), scene.count("open")) == (1, 1)


def test_the_reconciler_warns_of_it_and_reads_it_once(scene: Scene) -> None:
    number = scene.submit("new", stage("a"))
    newer(scene.store, number, "plan", "priority")
    scene.store.reads = 0

    with capture_logs() as logs:
        for _ in range(5):
            scene.reconciler.pass_once(["experiments"])

    (warning,) = [line for line in logs if line["event"] == "experiment skipped"]
    assert (warning["experiment"], warning["log_level"]) == (number, "warning")
    assert warning["reason"] == f"{number} {WORDS}"
    assert scene.store.reads == 1


def test_lists_remember_that_it_cannot_be_read(scene: Scene) -> None:
    newer(scene.store, scene.submit("new", stage("a")), "plan", "priority")
    scene.store.reads = 0
    assert [scene.experiments.cards() for _ in range(3)] == [[], [], []]
    assert scene.store.reads == 1


def test_an_experiment_that_is_submitted_again_in_words_it_knows_is_served(scene: Scene) -> None:
    number = scene.submit("new", stage("a"))
    newer(scene.store, number, "plan", "priority")
    scene.reconciler.pass_once()
    assert queued(scene.redis)["trainer"] == []

    scene.store.delete(f"experiments/{number}/experiment.json")
    scene.reconciler.pass_once(["experiments"])
    scene.submit("new", stage("a"))
    scene.reconciler._next_sweep = 0.0
    scene.reconciler.pass_once()

    assert queued(scene.redis)["trainer"] == ["a"]
    assert scene.count("unreadable") == 0


def test_what_is_only_added_around_the_plan_stops_nothing(scene: Scene) -> None:
    newer(scene.store, scene.submit("new", stage("a")), "labels", value=["x"])
    scene.reconciler.pass_once()
    assert queued(scene.redis)["trainer"] == ["a"]


def test_nobody_is_rung_for_a_service_that_only_a_newer_release_has(scene: Scene) -> None:
    scene.submit("new", stage("a", service="explainer"), stage("b"))
    assert scene.reconciler.pass_once() == 1
    assert scene.redis.llen("explainer") == 0


# --------------------------------------------------------------------------------------- API


@pytest.fixture
def mixed(client: TestClient, world: World) -> tuple[str, str]:
    """An experiment of this release and one of a newer one; their ids."""
    ours, theirs = submit(client), submit(client, changed(name="newer"))
    newer(world.backend.store, theirs, "plan", "priority")
    return ours, theirs


def test_the_list_has_the_others_and_a_sentence_for_the_one_that_cannot_be_read(
    client: TestClient, mixed: tuple[str, str]
) -> None:
    ours, theirs = mixed
    page = client.get("/v1/experiments").json()
    assert [one["id"] for one in page["items"]] == [ours]
    assert page["unreadable"] == [{"id": theirs, "reason": f"{theirs} {WORDS}"}]


def test_pages_of_one_go_over_it_to_the_next(client: TestClient, mixed: tuple[str, str]) -> None:
    ours, theirs = mixed
    first = client.get("/v1/experiments", params={"size": 1}).json()
    second = client.get("/v1/experiments", params={"size": 1, "cursor": first["next_page"]}).json()
    assert [one["id"] for one in first["unreadable"]] == [theirs]
    assert [one["id"] for one in second["items"]] == [ours]


@pytest.mark.parametrize("wanted", [{"state": "running"}, {"owner": ""}, {"name": "small"}])
def test_a_filter_finds_only_what_is_known_to_fit(
    client: TestClient, mixed: tuple[str, str], wanted: dict[str, str]
) -> None:
    page = client.get("/v1/experiments", params=wanted).json()
    assert [one["id"] for one in page["items"]] == [mixed[0]]
    assert page["unreadable"] == []


@pytest.mark.parametrize("path", ["", "/plan", "/spec", "/stages", "/events", "/models"])
def test_asking_for_it_gives_one_sentence_and_no_server_error(
    client: TestClient, mixed: tuple[str, str], path: str
) -> None:
    answer = client.get(f"/v1/experiments/{mixed[1]}{path}")
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"{mixed[1]} {WORDS}"


def test_a_resolved_spec_with_unknown_fields_hides_only_itself(
    client: TestClient, world: World
) -> None:
    number = submit(client)
    newer(world.backend.store, number, "spec", "spec", "deadline", value="tomorrow")
    assert client.get(f"/v1/experiments/{number}").status_code == 200
    answer = client.get(f"/v1/experiments/{number}/spec")
    assert (answer.status_code, answer.json()["detail"]) == (409, f"the spec of {number} {WORDS}")


def test_the_page_of_all_experiments_says_it_too(
    client: TestClient, mixed: tuple[str, str]
) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert f"{mixed[1]} {WORDS}." in page.text
    assert f'href="/experiments/{mixed[0]}"' in page.text


def test_a_submission_beside_it_is_taken(client: TestClient, mixed: tuple[str, str]) -> None:
    assert client.post("/v1/experiments", json=changed(name="third")).status_code == 201
    assert client.post("/v1/experiments", json=SPEC).status_code == 200


def test_an_idempotency_key_of_a_newer_release_is_a_sentence(
    client: TestClient, world: World
) -> None:
    headers = {"Idempotency-Key": "one"}
    client.post("/v1/experiments", json=SPEC, headers=headers)
    (info,) = world.backend.store.list("idempotency/")
    record = json.loads(world.backend.store.get(info.name))
    record["resolved"]["pinned"] = {}
    world.backend.store.put(info.name, json.dumps(record).encode())
    answer = client.post("/v1/experiments", json=SPEC, headers=headers)
    assert answer.status_code == 409
    assert WORDS in answer.json()["detail"]


def test_an_artifact_of_a_newer_release_is_a_sentence(client: TestClient, world: World) -> None:
    key = world.keys(submit(client))[0]
    world.backend.store.put(f"stages/{key}/manifest.json", b'{"format": 2}')
    answer = client.get(f"/v1/artifacts/{key}")
    assert (answer.status_code, answer.json()["detail"]) == (
        409, f"the artifact {key[:12]} {WORDS}",
    )  # fmt: skip


# ------------------------------------------------------------------------- commands, the rest


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, World]]:
    with serving(settings) as (url, served_app):
        yield url, World(served_app.state.backend)


def lineament(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_lists_the_others_and_says_the_sentence(
    served: tuple[str, World], tmp_path: Path
) -> None:
    url, world = served
    (tmp_path / "spec.json").write_text(json.dumps(SPEC))
    number = lineament("submit", tmp_path / "spec.json", "--server", url).stdout.strip()
    newer(world.backend.store, number, "plan", "priority")
    listed = lineament("list", "--server", url)
    assert listed.exit_code == 0
    assert f"{number} {WORDS}" in " ".join(listed.output.split())


def test_garbage_collection_removes_nothing_while_it_cannot_read_what_is_needed(
    scene: Scene, tmp_path: Path
) -> None:
    number = scene.submit("new", stage("a" * 64))
    newer(scene.store, number, "plan", "priority")
    collector = Collector(scene.store, 3600)
    with pytest.raises(OtherReleaseError):
        list(collector.find())
    with pytest.raises(OtherReleaseError):
        collector.remove([])
    refused = lineament("gc", "--data", tmp_path, "--delete")
    assert refused.exit_code == 1
    assert WORDS in " ".join(refused.output.split())


def test_an_upload_that_a_newer_release_says_more_of_can_be_used(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    pointer = {"name": "x", "digest": "d", "format": "text", "bytes": 1, "rows": 2, "owner": "ada"}
    store.put("uploads/x.json", json.dumps(pointer | {"license": "mit"}).encode())
    (found,) = UploadStore(store).all()
    assert (found.digest, found.rows) == ("d", 2)


def test_a_log_that_a_newer_worker_publishes_can_be_read(redis: Redis) -> None:
    told = {"attempt": "a", "start": 3, "text": "x", "lines": 1}
    redis.set("lineament:log:k", json.dumps(told))
    assert Leases(redis, 1).live_log("k") == LiveLog("a", 3, "x")


def test_what_is_no_json_is_called_damaged(scene: Scene) -> None:
    number = scene.submit("new", stage("a"))
    scene.store.put(f"experiments/{number}/experiment.json", b'{"id": ')
    with pytest.raises(OtherReleaseError, match="is damaged in the store"):
        scene.experiments.get(number)
