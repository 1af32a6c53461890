"""A stage that asks a language model, in real processes: killed, stopped, hindered; no secret."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from shared.plan import PlannedStage
from shared.plan.graph import stage_key
from shared.queue.leases import Leases
from shared.records.artifacts import Artifacts
from shared.records.attempts import AttemptBook, Ending
from shared.records.checkpoints import Checkpoints
from shared.resolve.explainer import PROMPTS, endpoint_digest
from shared.settings import Settings
from shared.stages.explain import LanguageModel
from shared.store import LocalStore
from shared.telemetry.metrics import WorkerMetrics
from shared.worker.spawner import Spawner
from shared.worker.supervisor import Supervisor
from tests.support.fake_services import PACKAGE
from tests.support.fake_services.language_model import (
    KEY,
    MODEL,
    Instead,
    LanguageModelServer,
    language_model_server,
    problem,
)

FEATURES = 6
REQUESTS = FEATURES * 7


class Worker:
    """A supervisor over an empty store, with one stage that asks."""

    def __init__(self, directory: Path, redis: Redis, spawner: Spawner, patience: float) -> None:
        self.drain = False
        self.directory = directory
        settings = Settings(data=directory / "data", lease=2.0, grace=4.0)
        self.store = LocalStore(directory / "data" / "store")
        self.book = AttemptBook(self.store)
        self.artifacts = Artifacts(self.store)
        self.leases = Leases(redis, settings.lease)
        self._pid_file = directory / "pid"
        self._supervisor = Supervisor(
            settings,
            self.store,
            self.leases,
            spawner,
            WorkerMetrics(),
            lambda: self.drain,
            {"ask": 1},
        )
        asked = LanguageModel(
            endpoint=endpoint_digest(settings),
            label="planted",
            prompts=PROMPTS,
            requests=None,
            tokens=None,
        )
        parameters = {
            "seed": 1,
            "features": FEATURES,
            "pid_file": str(self._pid_file),
            "patience": patience,
            "language_model": asked.model_dump(),
        }
        self.key = stage_key("ask", 1, parameters, {})
        stage = PlannedStage(
            key=self.key, kind="ask", service="asker", version=1, parameters=parameters, inputs={},
            title="ask",
        )  # fmt: skip
        self.store.put(f"stages/{self.key}/stage.json", stage.model_dump_json().encode())

    def run(self) -> Ending | None:
        return self._supervisor.run(self.key)

    def child(self) -> tuple[int, Path]:
        """Process id and directory of the stage that runs."""
        pid, _, directory = self._pid_file.read_text().partition(" ")
        return int(pid), Path(directory)

    def handed_over(self) -> int:
        """The answers in the newest checkpoint that the running stage has told about."""
        events = (self.child()[1] / "events.jsonl").read_text().splitlines()
        steps = [json.loads(line).get("step", 0) for line in events]
        return max(steps, default=0)

    def answers(self) -> list[dict[str, Any]]:
        manifest = self.artifacts.manifest(self.key)
        assert manifest is not None
        return list(
            json.loads(self.store.get(self.artifacts.object_name(manifest, "answers.json")))
        )


@pytest.fixture(scope="module")
def server() -> Iterator[LanguageModelServer]:
    with language_model_server() as one:
        yield one


@pytest.fixture(scope="module")
def spawner(server: LanguageModelServer) -> Iterator[Spawner]:
    with pytest.MonkeyPatch.context() as patch:
        _set(patch, server)
        one = Spawner(["asker"], threads=1, package=PACKAGE)
        one.warm_up()
    yield one
    one.close()


def _set(patch: pytest.MonkeyPatch, server: LanguageModelServer) -> None:
    patch.setenv("LINEAMENT_EXPLAIN_URL", server.url)
    patch.setenv("LINEAMENT_EXPLAIN_MODEL", MODEL)
    patch.setenv("LINEAMENT_EXPLAIN_KEY", KEY)
    patch.setenv("LINEAMENT_EXPLAIN_TIMEOUT", "5")


@pytest.fixture
def worker(
    tmp_path: Path,
    redis: Redis,
    spawner: Spawner,
    server: LanguageModelServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Worker]:
    _set(monkeypatch, server)
    for seen in (server.asked, server.answered, server.kinds, server.bodies):
        seen.clear()
    yield Worker(tmp_path, redis, spawner, patience=1.0)
    server.instead = lambda body, kind: None
    server.delay = 0.0


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


class Gate:
    """Lets so many requests through; those that wait when it opens again are never answered."""

    def __init__(self, requests: int) -> None:
        self._left = requests
        self._lock = threading.Lock()
        self._opened = threading.Event()

    def __call__(self, body: dict[str, Any], kind: str) -> Instead:
        with self._lock:
            self._left -= 1
            if self._left >= 0:
                return None
        self._opened.wait()
        return problem(503, "gone")

    def open(self) -> None:
        self._opened.set()


def test_a_stage_that_is_killed_again_and_again_asks_nothing_twice(
    worker: Worker, server: LanguageModelServer
) -> None:
    for answered in (3, 11, 30):
        gate = server.instead = Gate(answered - len(server.answered))  # type: ignore[assignment]
        endings: list[Ending | None] = []
        attempt = threading.Thread(target=lambda seen=endings: seen.append(worker.run()))
        attempt.start()
        _until(lambda wanted=answered: len(server.answered) == wanted)
        _until(lambda wanted=answered: worker.handed_over() == wanted)
        os.kill(worker.child()[0], signal.SIGKILL)
        attempt.join()
        gate.open()
        assert endings == ["crashed"]
    server.instead = lambda body, kind: None

    assert worker.run() == "committed"

    assert set(server.answered.values()) == {1}
    assert len(server.answered) == REQUESTS
    manifest = worker.artifacts.manifest(worker.key)
    assert manifest is not None
    assert manifest.results["requests"] == REQUESTS
    assert [one["failure"] for one in worker.answers()] == [None] * FEATURES
    assert Checkpoints(worker.store).newest(worker.key) is None


def test_a_stage_that_is_killed_at_any_moment_repeats_at_most_what_was_on_its_way(
    worker: Worker, server: LanguageModelServer
) -> None:
    server.delay = 0.02
    endings: list[Ending | None] = []
    attempt = threading.Thread(target=lambda: endings.append(worker.run()))
    attempt.start()
    _until(lambda: len(server.answered) >= 12)
    os.kill(worker.child()[0], signal.SIGKILL)
    attempt.join()
    assert endings == ["crashed"]
    assert worker.run() == "committed"
    workers = Settings().explain_concurrency
    assert sum(server.answered.values()) - REQUESTS <= workers


def test_draining_keeps_what_is_under_way_and_the_next_attempt_goes_on(
    worker: Worker, server: LanguageModelServer
) -> None:
    server.delay = 0.1

    def drain() -> None:
        _until(lambda: len(server.answered) >= 8)
        worker.drain = True

    thread = threading.Thread(target=drain)
    thread.start()
    assert worker.run() == "left"
    thread.join()
    worker.drain = False
    assert len(server.answered) < REQUESTS

    assert worker.run() == "committed"
    assert set(server.answered.values()) == {1}
    assert len(server.answered) == REQUESTS


def test_a_server_that_is_away_puts_the_stage_off_and_costs_no_attempt(
    worker: Worker, server: LanguageModelServer
) -> None:
    server.instead = lambda body, kind: (
        (429, {"Retry-After": "3600"}, b"") if len(server.kinds) >= 10 else None
    )

    assert [worker.run() for _ in range(4)] == ["hindered"] * 4

    assert worker.book.failure(worker.key) is None
    reasons = {one.reason for one in worker.book.attempts(worker.key)}
    assert reasons == {
        "the language model's server is away (it allows no more requests for now (429)); "
        "all answers so far are kept"
    }
    assert worker.leases.recently_rung([worker.key]) == {worker.key}, "nobody rings for it now"
    server.instead = lambda body, kind: None
    assert worker.run() == "committed"
    assert set(server.answered.values()) == {1}


def _texts_below(directory: Path) -> Iterator[tuple[Path, bytes]]:
    for path in directory.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


def test_no_file_log_event_or_reason_names_the_server_the_model_or_the_key(
    worker: Worker,
    server: LanguageModelServer,
    redis: Redis,
    capfd: pytest.CaptureFixture[str],
) -> None:
    # Each way in which an attempt can end, with files of all of them in the store.
    server.instead = lambda body, kind: (
        (429, {"Retry-After": "3600"}, b"") if len(server.kinds) >= 10 else None
    )
    assert worker.run() == "hindered"
    kept = list(_texts_below(worker.directory))
    server.instead = lambda body, kind: problem(401, "Incorrect API key")
    assert worker.run() == "failed"
    failure = worker.book.failure(worker.key)
    assert failure is not None
    kept += _texts_below(worker.directory)
    worker.book.forgive(worker.key)
    server.instead = lambda body, kind: None
    assert worker.run() == "committed"
    kept += _texts_below(worker.directory)

    names = {path.name for path, _ in kept}
    assert {"checkpoint.json", "manifest.json", "answers.json", "stage.json"} <= names
    out, err = capfd.readouterr()
    told = [redis.dump(name) or b"" for name in redis.scan_iter()]
    everything = [text for _, text in kept] + [out.encode(), err.encode(), *told]
    for secret in (KEY, MODEL, server.url, server.url.split("/")[2]):
        assert not [text for text in everything if secret.encode() in text]
