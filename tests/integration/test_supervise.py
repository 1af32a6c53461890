"""The supervisor with a real Valkey, a real store and real child processes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.plan import PlannedStage
from shared.plan.graph import stage_key
from shared.queue.leases import Leases
from shared.records.artifacts import Artifacts
from shared.records.attempts import Attempt, AttemptBook
from shared.records.checkpoints import Checkpoints
from shared.settings import Settings
from shared.store import LocalStore, Store, StoreError
from shared.telemetry.metrics import WorkerMetrics
from shared.worker.preparation import Preparation
from shared.worker.spawner import Spawner
from shared.worker.supervisor import Supervisor
from tests.support.fake_services import PACKAGE, versions


class Bench:
    """A supervisor over an empty store, and verbs to use it."""

    def __init__(self, directory: Path, redis: Redis, spawner: Spawner, **settings: float) -> None:
        self.drain = False
        self.settings = Settings(data=directory, lease=1.0, grace=1.0, **settings)  # type: ignore[arg-type]
        self.store = LocalStore(directory / "store")
        self.leases = Leases(redis, self.settings.lease)
        self.artifacts = Artifacts(self.store)
        self.book = AttemptBook(self.store)
        self.supervisor = self.another(spawner)

    def another(self, spawner: Spawner, store: Store | None = None) -> Supervisor:
        return Supervisor(
            self.settings,
            store or self.store,
            self.leases,
            spawner,
            WorkerMetrics(),
            lambda: self.drain,
            versions(),
        )

    def stage(self, kind: str, parameters: dict[str, object], *inputs: str) -> str:
        named = {f"part/{number}": key for number, key in enumerate(inputs)}
        key = stage_key(kind, 1, parameters, named)
        stage = PlannedStage(
            key=key, kind=kind, service="fake", version=1, parameters=parameters, inputs=named,
            title=kind,
        )  # fmt: skip
        self.store.put(f"stages/{key}/stage.json", stage.model_dump_json().encode())
        return key


@pytest.fixture(scope="module")
def spawner() -> Iterator[Spawner]:
    one = Spawner(["fake"], threads=1, package=PACKAGE)
    yield one
    one.close()


@pytest.fixture
def bench(tmp_path: Path, redis: Redis, spawner: Spawner) -> Bench:
    return Bench(tmp_path, redis, spawner)


def test_a_stage_leaves_a_manifest_with_files_results_timings_and_log(bench: Bench) -> None:
    key = bench.stage("add", {"value": 3})

    assert bench.supervisor.run(key) == "committed"

    manifest = bench.artifacts.manifest(key)
    assert manifest is not None
    assert manifest.results == {"sum": 3}
    assert bench.store.get(bench.artifacts.object_name(manifest, "sum.txt")) == b"3"
    assert bench.store.get(manifest.log) == b"added 3\n"
    assert manifest.peak_memory_bytes > 10_000_000
    assert manifest.seconds > 0
    assert manifest.libraries["python"].startswith("3.")
    assert not list((bench.settings.data / "work").iterdir())


def test_a_stage_reads_the_files_of_its_inputs(bench: Bench) -> None:
    first, second = bench.stage("add", {"value": 1}), bench.stage("add", {"value": 2})
    both = bench.stage("add", {"value": 10}, first, second)

    assert bench.supervisor.run(both) is None, "its inputs are not there yet"
    assert [bench.supervisor.run(key) for key in (first, second, both)] == ["committed"] * 3

    manifest = bench.artifacts.manifest(both)
    assert manifest is not None
    assert manifest.results == {"sum": 13}


def test_a_finished_stage_is_never_computed_again(bench: Bench) -> None:
    key = bench.stage("add", {"value": 3})
    bench.supervisor.run(key)
    before = bench.artifacts.manifest(key)

    assert bench.supervisor.run(key) is None
    assert bench.artifacts.manifest(key) == before
    assert len(bench.book.attempts(key)) == 1


def test_a_stage_that_refuses_fails_with_its_sentence_and_is_not_tried_again(bench: Bench) -> None:
    key = bench.stage("refuse", {})

    assert bench.supervisor.run(key) == "failed"

    failure = bench.book.failure(key)
    assert failure is not None
    assert failure.reason == "corpora.lua: has no text"
    assert bench.supervisor.run(key) is None


@pytest.mark.parametrize(
    ("kind", "reason"), [("crash", "RuntimeError: boom"), ("die", "out of memory")]
)
def test_three_attempts_without_progress_fail_a_stage_until_it_is_retried(
    bench: Bench, kind: str, reason: str
) -> None:
    key = bench.stage(kind, {})

    assert [bench.supervisor.run(key) for _ in range(3)] == ["crashed", "crashed", "failed"]

    failure = bench.book.failure(key)
    assert failure is not None
    assert reason in failure.reason
    bench.book.forgive(key)
    assert bench.supervisor.run(key) == "crashed"


def test_the_log_of_a_crash_holds_the_trace(bench: Bench) -> None:
    key = bench.stage("crash", {})
    bench.supervisor.run(key)
    attempt = bench.book.attempts(key)[0]
    assert b'RuntimeError("boom")' in bench.book.log(key, attempt.attempt)


def test_draining_leaves_a_checkpoint_that_the_next_attempt_goes_on_from(bench: Bench) -> None:
    key = bench.stage("count", {"to": 60, "pause": 0.05})
    _drain_once_it_counts(bench, key)

    assert bench.supervisor.run(key) == "left"
    assert bench.book.failure(key) is None
    bench.drain = False
    assert bench.supervisor.run(key) == "committed"

    manifest = bench.artifacts.manifest(key)
    assert manifest is not None
    assert 0 < manifest.results["started_from"] < 60
    assert not list(bench.store.list(f"stages/{key}/checkpoints/")), "a finished stage keeps none"


def test_a_stage_nobody_wants_any_more_is_stopped(bench: Bench) -> None:
    key = bench.stage("count", {"to": 1000, "pause": 0.05})
    threading.Timer(0.3, lambda: bench.leases.ask_to_stop(key)).start()
    began = time.monotonic()

    assert bench.supervisor.run(key) == "left"
    assert time.monotonic() - began < 5


def test_a_stage_that_will_not_leave_is_killed_after_the_grace_period(bench: Bench) -> None:
    key = bench.stage("sleep", {"seconds": 60})
    threading.Timer(0.3, lambda: setattr(bench, "drain", True)).start()
    began = time.monotonic()

    assert bench.supervisor.run(key) == "left"
    assert time.monotonic() - began < 10


def test_a_stage_that_says_nothing_for_too_long_is_killed(
    tmp_path: Path, redis: Redis, spawner: Spawner
) -> None:
    bench = Bench(tmp_path, redis, spawner, stall=0.5)
    key = bench.stage("sleep", {"seconds": 60})

    assert bench.supervisor.run(key) == "crashed"
    assert "said nothing" in (bench.book.attempts(key)[0].reason or "")


class Flaky(LocalStore):
    """A store that does not answer while `down`, or fails for some names for a while."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.failures = 0
        self.part = "/files/"

    def put_file(self, name: str, path: Path) -> None:
        if self.part in name and self.failures:
            self.failures -= 1
            raise StoreError("the store does not answer")
        super().put_file(name, path)


def test_a_store_that_does_not_answer_is_asked_again_until_it_takes_the_result(
    bench: Bench, spawner: Spawner
) -> None:
    store = Flaky(bench.settings.data / "store")
    store.failures = 3
    key = bench.stage("add", {"value": 4})

    assert bench.another(spawner, store).run(key) == "committed"
    assert store.failures == 0
    manifest = bench.artifacts.manifest(key)
    assert manifest is not None
    assert bench.store.get(bench.artifacts.object_name(manifest, "sum.txt")) == b"4"


def test_a_checkpoint_that_the_store_did_not_take_is_offered_again_when_leaving(
    bench: Bench, spawner: Spawner
) -> None:
    store = Flaky(bench.settings.data / "store")
    store.part, store.failures = "/checkpoints/", 2
    key = bench.stage("count", {"to": 60, "pause": 0.05})
    _drain_once_it_counts(bench, key)

    assert bench.another(spawner, store).run(key) == "left"
    assert Checkpoints(bench.store).newest(key) is not None


def test_a_full_disk_does_not_count_against_the_stage_and_puts_it_off(
    bench: Bench, redis: Redis
) -> None:
    key = bench.stage("full", {})

    assert [bench.supervisor.run(key) for _ in range(5)] == ["hindered"] * 5
    assert bench.book.failure(key) is None
    assert {one.reason for one in bench.book.attempts(key)} == {
        "no space left on the worker ([Errno 28] No space left on device)"
    }
    assert bench.leases.recently_rung([key]) == {key}, "nobody rings for it now"


def test_a_missing_input_is_told_to_the_reconciler(bench: Bench) -> None:
    first = bench.stage("add", {"value": 1})
    key = bench.stage("add", {"value": 10}, first)
    bench.leases.wait_for_bell(0.1)

    assert bench.supervisor.run(key) is None
    assert bench.leases.wait_for_bell(1) == [f"missing:{first}"]


def test_the_end_of_a_running_stages_log_is_published(bench: Bench) -> None:
    key = bench.stage("talk", {"lines": 20, "pause": 0.1})
    thread = threading.Thread(target=lambda: bench.supervisor.run(key))
    thread.start()
    _until(lambda: "line 3" in getattr(bench.leases.live_log(key), "text", ""))
    thread.join()


def test_what_a_killed_attempt_left_on_the_disk_goes_with_the_next(bench: Bench) -> None:
    left = bench.settings.data / "work" / "killed"
    left.mkdir(parents=True)
    (left / "lock").touch()
    (left / "large").write_bytes(b"x" * 1000)

    assert bench.supervisor.run(bench.stage("add", {"value": 1})) == "committed"
    assert not left.exists()


def test_a_worker_whose_clock_is_behind_still_counts_attempts_after_a_retry(bench: Bench) -> None:
    key = bench.stage("crash", {})
    for number in range(3):
        late = Attempt(attempt=f"late{number}", host="x", started="2099-01-01T00:00:00.000+00:00")
        bench.book.write(key, late)
    bench.book.forgive(key)
    assert bench.supervisor.run(key) == "crashed", "attempts before the retry do not count"
    assert bench.supervisor.run(key) == "crashed"
    assert bench.supervisor.run(key) == "failed"


def test_only_one_of_two_supervisors_runs_a_stage(bench: Bench, redis: Redis) -> None:
    key = bench.stage("count", {"to": 10, "pause": 0.05})
    other = Spawner(["fake"], threads=1, package=PACKAGE)
    second = bench.another(other)
    endings: list[str | None] = []
    thread = threading.Thread(target=lambda: endings.append(bench.supervisor.run(key)))
    thread.start()
    _until(lambda: bool(bench.leases.live([key])))

    assert second.run(key) is None
    thread.join()
    other.close()
    assert endings == ["committed"]


def test_a_flushed_redis_does_not_disturb_a_running_stage(bench: Bench, redis: Redis) -> None:
    key = bench.stage("count", {"to": 20, "pause": 0.05})
    threading.Timer(0.3, redis.flushall).start()
    assert bench.supervisor.run(key) == "committed"


def test_losing_the_lease_to_another_attempt_ends_the_stage_without_a_manifest(
    bench: Bench, redis: Redis
) -> None:
    key = bench.stage("count", {"to": 200, "pause": 0.05})
    threading.Timer(0.3, lambda: redis.set(f"lineament:lease:{key}", "other", px=60_000)).start()

    assert bench.supervisor.run(key) == "lost"
    assert bench.artifacts.manifest(key) is None
    assert redis.get(f"lineament:lease:{key}") == "other", "the other's lease is not released"


def test_progress_is_visible_while_a_stage_runs(bench: Bench) -> None:
    key = bench.stage("count", {"to": 30, "pause": 0.05})
    thread = threading.Thread(target=lambda: bench.supervisor.run(key))
    thread.start()
    _until(lambda: "loss" in bench.leases.progress([key]).get(key, {}))
    thread.join()
    assert bench.leases.progress([key]) == {}


def test_a_killed_spawner_is_an_ordinary_crash_and_the_next_attempt_works(bench: Bench) -> None:
    spawner = Spawner(["fake"], threads=1, package=PACKAGE)
    supervisor = bench.another(spawner)
    key = bench.stage("count", {"to": 40, "pause": 0.05})
    process = spawner._running()
    threading.Timer(1.0, process.kill).start()

    assert supervisor.run(key) == "crashed"
    assert supervisor.run(key) == "committed"
    spawner.close()


def test_a_stage_that_takes_the_spawner_with_it_fails_even_when_it_has_a_checkpoint(
    bench: Bench,
) -> None:
    key = bench.stage("count", {"to": 500, "pause": 0.05})
    _drain_once_it_counts(bench, key)
    assert bench.supervisor.run(key) == "left"
    bench.drain = False
    endings = []
    for _ in range(3):
        spawner = Spawner(["fake"], threads=1, package=PACKAGE)
        supervisor = bench.another(spawner)
        process = spawner._running()
        threading.Thread(target=_kill_once_leased, args=(bench, key, process)).start()
        endings.append(supervisor.run(key))

    assert endings == ["crashed", "crashed", "failed"]
    assert all(one.from_step > 0 for one in bench.book.attempts(key)[1:])


def _kill_once_leased(bench: Bench, key: str, process: subprocess.Popen[bytes]) -> None:
    _until(lambda: bench.leases.progress([key]).get(key, {}).get("done", 0) > 0)
    process.kill()


def _drain_once_it_counts(bench: Bench, key: str) -> None:
    """Tell the worker to leave as soon as the stage has shown progress."""

    def drain() -> None:
        _until(lambda: bench.leases.progress([key]).get(key, {}).get("done", 0) > 0)
        bench.drain = True

    threading.Thread(target=drain).start()


def _until(condition: object, seconds: float = 10) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_assignments_are_plain_json(bench: Bench, spawner: Spawner) -> None:
    key = bench.stage("add", {"value": 1})
    stage = PlannedStage.model_validate_json(bench.store.get(f"stages/{key}/stage.json"))
    directory = bench.settings.data / "x"
    directory.mkdir()
    Preparation(bench.settings, bench.store).prepare(stage, {}, directory)
    assert json.loads((directory / "assignment.json").read_text())["parameters"] == {"value": 1}
