"""The supervisor: takes a lease, runs one stage in a child process, commits what it made.

It loads no torch and trusts nothing that the child does not prove: a crash, a hang and an
out-of-memory kill are ordinary endings with a log. The order of effects makes it safe: files first,
then the manifest (created only if absent), then the lease is released.
"""

from __future__ import annotations

import contextlib
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from shared.failpoints import reached
from shared.plan import PlannedStage
from shared.queue.leases import Leases
from shared.records.artifacts import Artifacts, Manifest
from shared.records.attempts import Attempt, AttemptBook, Ending, now
from shared.records.releases import OtherReleaseError
from shared.settings import Settings
from shared.stages.kinds import VERSIONS
from shared.store import NotFoundError, Store, StoreError
from shared.telemetry.metrics import WorkerMetrics
from shared.telemetry.traces import note, span
from shared.worker.child import no_space
from shared.worker.ending import Ledger
from shared.worker.heartbeat import Heartbeat
from shared.worker.preparation import Preparation, working_directory
from shared.worker.release import Decliner, read_stage
from shared.worker.spawner import Spawner
from shared.worker.watch import Running, Watch

LONGEST_PUT_OFF = 300.0  # seconds at most between attempts that the store or the disk hinders

log = structlog.get_logger()


class Supervisor:
    """Runs stages one at a time for a worker process.

    `versions` has the version of every kind of stage that its code computes.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        leases: Leases,
        spawner: Spawner,
        metrics: WorkerMetrics,
        draining: Callable[[], bool],
        versions: Mapping[str, int] = VERSIONS,
    ) -> None:
        self._settings = settings
        self._store = store
        self._leases = leases
        self._spawner = spawner
        self._metrics = metrics
        self._draining = draining
        self._versions = versions
        self._artifacts = Artifacts(store)
        self._book = AttemptBook(store)
        self._decliner = Decliner(leases, self._book, metrics)
        self._preparation = Preparation(settings, store)
        self._ledger = Ledger(store, settings.attempts, settings.grace)
        self._work = settings.data.resolve() / "work"

    def run(self, key: str, experiment: str = "") -> Ending | None:
        """Run the stage unless it is done, failed, not ready, of another release or leased.

        `experiment` is one that wants the stage; logs and traces name it.
        Returns how the attempt ended; None when there was nothing to do. That includes a store or
        a Redis that does not answer: the reconciler will ring again.
        """
        with bound_contextvars(experiment=experiment, stage=key):
            try:
                return self._run(key, experiment)
            except OtherReleaseError as error:
                self._decline(key, error)
                return None
            except (StoreError, RedisError) as error:
                log.warning("doorbell not answered", stage=key, error=str(error))
                return None

    def _decline(self, key: str, error: OtherReleaseError) -> None:
        with contextlib.suppress(RedisError):  # the reconciler rings again by itself
            self._decliner.decline(key, error)

    def _run(self, key: str, experiment: str) -> Ending | None:
        if self._draining():
            return None
        if self._settled(key):
            self._leases.ring(f"stage:{key}")
            return None
        try:
            described = self._store.get(f"stages/{key}/stage.json")
        except NotFoundError:
            self._leases.ring(f"undescribed:{key}")
            return None
        stage = read_stage(described, self._versions)
        inputs = self._inputs(stage)
        if inputs is None:
            return None
        attempt_id = uuid.uuid4().hex
        if not self._leases.acquire(key, attempt_id):
            return None
        reached("after-acquire")
        try:
            if self._settled(key):
                return None
            return self._attempt(stage, inputs, attempt_id, experiment)
        finally:
            with contextlib.suppress(RedisError):  # the lease expires by itself
                self._leases.release(key, attempt_id)

    def _settled(self, key: str) -> bool:
        return self._artifacts.exists(key) or self._book.failed(key)

    def _inputs(self, stage: PlannedStage) -> dict[str, Manifest] | None:
        """The inputs' manifests; None, after a hint to the reconciler, when one is missing."""
        manifests = {}
        for name, key in stage.inputs.items():
            manifest = self._artifacts.manifest(key)
            if manifest is None:
                self._leases.ring(f"missing:{key}")
                return None
            manifests[name] = manifest
        return manifests

    def _attempt(
        self, stage: PlannedStage, inputs: dict[str, Manifest], attempt_id: str, experiment: str
    ) -> Ending:
        attempt = Attempt(attempt=attempt_id, host=socket.gethostname(), started=now())
        began = time.monotonic()
        ids = {"stage": stage.key, "attempt": attempt_id, "kind": stage.kind}
        with (
            bound_contextvars(attempt=attempt_id),
            span(f"stage {stage.kind}", experiment, service=stage.service, **ids) as traced,
            self._metrics.running(stage.service, stage.kind),
            Heartbeat(self._leases, stage.key, attempt, self._settings.lease) as beat,
        ):
            log.info("stage started", title=stage.title, kind=stage.kind, host=attempt.host)
            self._metrics.watch_lease(lambda: beat.renewed)
            ending = self._guarded(stage, inputs, beat)
            note(traced, ending=ending)
        self._metrics.ended(stage.service, stage.kind, ending, time.monotonic() - began)
        return ending

    def _guarded(self, stage: PlannedStage, inputs: dict[str, Manifest], beat: Heartbeat) -> Ending:
        """Make the attempt, and turn all that can go wrong around the child into an ending."""
        try:
            self._compare_with_past(stage)
            if self._ledger.give_up(stage, beat.attempt, "the worker that ran it was killed"):
                return "failed"
            self._begin(stage, beat, self._ledger.newest_step(stage.key))
            with working_directory(self._work, beat.attempt.attempt) as directory:
                return self._compute(stage, inputs, beat, directory)
        except StoreError as error:
            return self._hindered(stage, beat.attempt, f"the store did not answer: {error}")
        except OSError as error:
            if no_space(error):
                return self._hindered(stage, beat.attempt, f"no space left on the worker: {error}")
            return self._crashed(stage, beat.attempt, error)
        except Exception as error:
            return self._crashed(stage, beat.attempt, error)

    def _compare_with_past(self, stage: PlannedStage) -> None:
        """Count this attempt. An earlier one that never ended has lost its lease."""
        past = self._book.attempts(stage.key)
        expired = bool(past) and past[-1].ending is None
        self._metrics.taken_up(stage.service, stage.kind, len(past) + 1, expired)

    def _begin(self, stage: PlannedStage, beat: Heartbeat, step: int) -> None:
        """Record the step where the attempt begins; only steps beyond it are progress."""
        beat.attempt = beat.attempt.model_copy(update={"from_step": step, "reached_step": step})
        self._book.write(stage.key, beat.attempt)

    def _compute(
        self, stage: PlannedStage, inputs: dict[str, Manifest], beat: Heartbeat, directory: Path
    ) -> Ending:
        with span("prepare"):
            step = self._preparation.prepare(stage, inputs, directory)
        if step:
            self._metrics.resumed(stage.service, stage.kind)
        self._begin(stage, beat, step)
        beat.log = directory / "log.txt"
        with span("compute", from_step=step):
            child = self._spawner.start(directory)
            running = Running(stage, directory, child, beat)
            watch = Watch(self._settings, self._store, self._metrics, self._draining, running)
            outcome = watch.follow()
        with span("store"):
            ending = self._ledger.settle(running, watch, outcome)
        if ending == "hindered":
            self._put_off(stage)
        return ending

    def _hindered(self, stage: PlannedStage, attempt: Attempt, reason: str) -> Ending:
        """End an attempt through no fault of the stage: it does not count, and is tried again."""
        with contextlib.suppress(StoreError):
            self._ledger.close(stage, attempt, "hindered", reason)
        self._put_off(stage)
        return "hindered"

    def _put_off(self, stage: PlannedStage) -> None:
        with contextlib.suppress(RedisError):
            seconds = self._leases.put_off(stage.key, LONGEST_PUT_OFF)
            log.warning("stage put off", stage=stage.key, title=stage.title, seconds=seconds)

    def _crashed(self, stage: PlannedStage, attempt: Attempt, error: Exception) -> Ending:
        log.error("attempt crashed", stage=stage.key, exc_info=error)
        reason = str(error) or type(error).__name__
        return self._ledger.close(stage, attempt, "crashed", reason)
