"""What a supervisor counts, logs and traces, with real child processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from shared.plan import PlannedStage
from shared.queue.leases import Leases
from shared.records.attempts import Attempt, AttemptBook, now
from shared.settings import Settings
from shared.store import LocalStore
from shared.telemetry import traces
from shared.telemetry.metrics import WorkerMetrics
from shared.worker.spawner import Spawner
from shared.worker.supervisor import Supervisor
from tests.support.fake_services import PACKAGE, versions


class Scene:
    """A supervisor over an empty store, and its metrics."""

    def __init__(self, directory: Path, redis: Redis, spawner: Spawner) -> None:
        self.draining = False
        settings = Settings(data=directory, lease=1.0, grace=5.0, checkpoint=0.05)
        self.store = LocalStore(directory / "store")
        self.metrics = WorkerMetrics(settings, ["fake"])
        self.book = AttemptBook(self.store)
        leases = Leases(redis, settings.lease)
        self.supervisor = Supervisor(
            settings, self.store, leases, spawner, self.metrics, lambda: self.draining,
            versions(),
        )  # fmt: skip

    def stage(self, kind: str, **parameters: Any) -> str:
        """A stage to run; its key."""
        key = (kind * 64)[:64]
        stage = PlannedStage(
            key=key, kind=kind, service="fake", version=1, parameters=parameters, inputs={},
            title=kind,
        )  # fmt: skip
        self.store.put(f"stages/{key}/stage.json", stage.model_dump_json().encode())
        return key

    def value(self, name: str, **labels: str) -> float | None:
        """A sample as it is now."""
        return self.metrics.registry.get_sample_value(name, labels)

    def of(self, name: str, kind: str, **labels: str) -> float | None:
        """A sample of a kind of stage."""
        return self.value(name, service="fake", kind=kind, **labels)


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    one = Spawner(["fake"], threads=1, package=PACKAGE)
    yield one
    one.close()


@pytest.fixture
def scene(tmp_path: Path, redis: Redis, spawner: Spawner) -> Scene:
    return Scene(tmp_path, redis, spawner)


@pytest.mark.parametrize(("kind", "cause"), [("explode", "not_finite"), ("refuse", "refused")])
def test_a_stage_that_fails_for_good_is_counted_by_its_cause(
    scene: Scene, kind: str, cause: str
) -> None:
    assert scene.supervisor.run(scene.stage(kind)) == "failed"
    assert scene.of("lineament_stage_failures_total", kind, cause=cause) == 1
    assert scene.of("lineament_stage_failures_total", kind, cause="attempts") == 0
    assert scene.of("lineament_attempts_total", kind, ending="failed") == 1


def test_a_stage_that_crashes_too_often_failed_of_its_attempts(scene: Scene) -> None:
    key = scene.stage("crash")
    assert [scene.supervisor.run(key) for _ in range(3)] == ["crashed", "crashed", "failed"]
    assert scene.of("lineament_stage_failures_total", "crash", cause="attempts") == 1


def test_ages_and_progress_are_there_while_a_stage_runs_and_go_with_it(scene: Scene) -> None:
    key = scene.stage("count", to=12, pause=0.1)
    running = threading.Thread(target=scene.supervisor.run, args=(key,))
    running.start()
    names = ("stage_silence", "lease_renewal_age", "checkpoint_age")
    ages = [f"lineament_{name}_seconds" for name in names]
    seen: dict[str, float] = {}
    while running.is_alive():
        for name in (*ages, "lineament_stage_progress_ratio", "lineament_stage_attempt_number"):
            if (value := scene.of(name, "count")) is not None:
                seen[name] = value
        busy = scene.value("lineament_worker_busy", service="fake")
        seen["busy"] = max(seen.get("busy", 0), busy or 0)
        time.sleep(0.02)
    running.join()

    assert all(0 <= seen[name] < 30 for name in ages)
    assert 0 < seen["lineament_stage_progress_ratio"] <= 1
    assert seen["lineament_stage_attempt_number"] == 1
    assert seen["busy"] == 1
    assert scene.value("lineament_worker_busy", service="fake") == 0
    assert scene.of("lineament_checkpoints_total", "count") > 1  # type: ignore[operator]
    for name in (*ages, "lineament_stage_progress_ratio", "lineament_stages_running"):
        assert scene.of(name, "count") is None


def drain_after_a_checkpoint(scene: Scene) -> None:
    while not scene.of("lineament_checkpoints_total", "count"):
        time.sleep(0.01)
    scene.draining = True


def test_an_attempt_that_goes_on_from_a_checkpoint_is_a_resume(scene: Scene) -> None:
    key = scene.stage("count", to=40, pause=0.05)
    drain = threading.Thread(target=drain_after_a_checkpoint, args=(scene,))
    drain.start()
    assert scene.supervisor.run(key) == "left"
    drain.join()
    assert scene.of("lineament_resumes_total", "count") == 0
    scene.draining = False
    assert scene.supervisor.run(key) == "committed"
    assert scene.of("lineament_resumes_total", "count") == 1
    assert scene.of("lineament_leases_expired_total", "count") == 0


def test_an_attempt_after_one_that_never_ended_took_over_an_expired_lease(scene: Scene) -> None:
    key = scene.stage("add", value=1)
    scene.book.write(key, Attempt(attempt="gone", host="box", started=now()))
    assert scene.supervisor.run(key) == "committed"
    assert scene.of("lineament_leases_expired_total", "add") == 1


def test_what_a_stage_prints_is_logged_with_all_ids(scene: Scene) -> None:
    key = scene.stage("talk", lines=3, pause=0.15)
    with capture_logs(processors=[merge_contextvars]) as logs:
        scene.supervisor.run(key, "luastories-0123456789")
    said = [line for line in logs if line["event"] == "stage said"]
    attempt = scene.book.attempts(key)[0].attempt
    assert [line["text"] for line in said] == ["line 0", "line 1", "line 2"]
    for line in said:
        ids = (line["experiment"], line["stage"], line["attempt"])
        assert ids == ("luastories-0123456789", key, attempt)
    assert scene.book.log(key, attempt) == b"line 0\nline 1\nline 2\n"


def test_an_attempt_is_a_span_of_its_experiment(scene: Scene) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    traces.use("worker", SimpleSpanProcessor(exporter))
    try:
        scene.supervisor.run(scene.stage("add", value=1), "luastories-0123456789")
        scene.supervisor.run(scene.stage("refuse"), "luastories-0123456789")
        spans = exporter.get_finished_spans()
    finally:
        traces.shut_tracing()

    trace, root = traces.experiment_ids("luastories-0123456789")
    assert {one.context.trace_id for one in spans if one.context} == {trace}
    stages = {one.name: one for one in spans if one.name.startswith("stage ")}
    assert {one.parent.span_id for one in stages.values() if one.parent} == {root}
    endings = {name: (one.attributes or {})["lineament.ending"] for name, one in stages.items()}
    assert endings == {"stage add": "committed", "stage refuse": "failed"}
    parts = [one.name for one in spans if one.parent and one.parent.span_id != root]
    assert parts == ["prepare", "compute", "store"] * 2
