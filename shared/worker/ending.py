"""Decide how an attempt ended and store that in order: files, manifest, then the rest."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import structlog

from shared.failpoints import reached
from shared.plan import PlannedStage
from shared.records.artifacts import Artifacts, Delivery, Manifest
from shared.records.attempts import Attempt, AttemptBook, Ending, Failure, now
from shared.records.checkpoints import Checkpoints
from shared.stages.stage import DONE, FAILED_FOR_GOOD, HINDERED, LEFT
from shared.store import Store, StoreError
from shared.worker.heartbeat import tail
from shared.worker.retry import patiently
from shared.worker.watch import Running, Watch

LOG_LIMIT = 4 << 20  # bytes of a log that are kept, from its end

log = structlog.get_logger()


class Ledger:
    """Records how attempts end, and commits what they made."""

    def __init__(self, store: Store, attempts: int, grace: float) -> None:
        self._artifacts = Artifacts(store)
        self._book = AttemptBook(store)
        self._checkpoints = Checkpoints(store)
        self._attempts = attempts
        self._grace = grace

    def settle(self, running: Running, watch: Watch, outcome: dict[str, Any]) -> Ending:
        """Commit what the child made and record how the attempt ended, given the child's outcome.

        Raises StoreError if the store did not answer for as long as the result was wanted.
        """
        key, attempt = running.stage.key, running.beat.attempt
        give_up = self._patience(running)
        _, text = tail(running.directory / "log.txt", LOG_LIMIT)
        name = patiently(lambda: self._book.keep_log(key, attempt.attempt, text), give_up)
        ending: Ending
        if running.beat.lost:
            ending, reason = "lost", "another worker took over the lease"
        elif outcome["code"] == DONE and running.results is not None:
            ending, reason = self._commit(running, outcome, name, give_up), None
        elif outcome["code"] == LEFT or (running.term_sent is not None and outcome["code"] != DONE):
            patiently(watch.save_now, give_up)
            ending, reason = "left", None
        elif outcome["code"] == FAILED_FOR_GOOD:
            patiently(watch.save_now, give_up)  # a retry goes on from it
            ending, reason = "failed", running.reason or "the stage failed without a reason"
        elif outcome["code"] == HINDERED:
            patiently(watch.save_now, give_up)
            ending, reason = "hindered", running.reason
        else:
            patiently(watch.save_now, give_up)
            ending, reason = "crashed", _why(running, outcome)
        return self.close(running.stage, running.beat.attempt, ending, reason)

    def close(
        self, stage: PlannedStage, attempt: Attempt, ending: Ending, reason: str | None
    ) -> Ending:
        """Record the ending; a failure, or one crash too many, fails the stage for good."""
        attempt = attempt.model_copy(update={"ended": now(), "ending": ending, "reason": reason})
        try:
            self._book.write(stage.key, attempt)
        except StoreError as error:
            if ending != "committed":
                raise
            log.warning("attempt not recorded", stage=stage.key, error=str(error))
        if ending == "failed":
            self._fail(stage, attempt, reason or "")
        elif ending == "crashed" and self.give_up(stage, attempt, reason or ""):
            ending = "failed"
        log.info("stage ended", stage=stage.key, title=stage.title, ending=ending, reason=reason)
        return ending

    def newest_step(self, key: str) -> int:
        """The step of the newest checkpoint; 0 if there is none."""
        newest = self._checkpoints.newest(key)
        return newest.step if newest else 0

    def give_up(self, stage: PlannedStage, attempt: Attempt, reason: str) -> bool:
        """Fail the stage if too many attempts got no further than the newest checkpoint."""
        tries = self._book.fruitless(stage.key, self.newest_step(stage.key))
        if tries < self._attempts:
            return False
        self._fail(stage, attempt, f"{tries} attempts without progress; the last one: {reason}")
        return True

    def _fail(self, stage: PlannedStage, attempt: Attempt, reason: str) -> None:
        self._book.fail(
            Failure(key=stage.key, reason=reason, attempt=attempt.attempt, failed=now())
        )

    def _patience(self, running: Running) -> Callable[[], bool]:
        """Give up when the lease is lost, nobody wants the stage, or its time to leave is over."""

        def give_up() -> bool:
            since = running.term_sent
            late = since is not None and time.monotonic() - since > self._grace
            return running.beat.lost or running.beat.unwanted or late

        return give_up

    def _commit(
        self, running: Running, outcome: dict[str, Any], log_name: str, give_up: Callable[[], bool]
    ) -> Ending:
        stage, attempt = running.stage, running.beat.attempt
        files = self._artifacts.delivery(stage.key, attempt.attempt, running.directory / "output")
        patiently(files.deliver, give_up)
        manifest = _manifest(running, outcome, log_name, files)
        reached("before-manifest")
        first = patiently(lambda: self._artifacts.commit(manifest), give_up)
        reached("after-manifest")
        if not first:
            return "duplicate"
        try:
            self._checkpoints.delete(stage.key)
        except StoreError as error:  # garbage, which `lineament gc` finds
            log.warning("checkpoint not deleted", stage=stage.key, error=str(error))
        return "committed"


def _manifest(
    running: Running, outcome: dict[str, Any], log_name: str, delivered: Delivery
) -> Manifest:
    stage, attempt, report = running.stage, running.beat.attempt, running.results
    assert report is not None
    return Manifest(
        key=stage.key,
        kind=stage.kind,
        version=stage.version,
        parameters=stage.parameters,
        inputs=stage.inputs,
        files=delivered.files,
        results=report["results"],
        attempt=attempt.attempt,
        started=attempt.started,
        finished=now(),
        seconds=round(time.monotonic() - running.began, 3),
        cpu_seconds=outcome["cpu_seconds"],
        peak_memory_bytes=outcome["peak_memory_bytes"],
        host=attempt.host,
        hardware=report["hardware"],
        libraries=report["libraries"],
        log=log_name,
    )


def _why(running: Running, outcome: dict[str, Any]) -> str:
    if running.stalled:
        return "it said nothing for too long and was stopped"
    if outcome["signal"] == signal.SIGKILL:
        return "killed by the system, most likely out of memory; use smaller batches or models"
    if outcome["signal"] is not None:
        return f"ended by signal {signal.Signals(outcome['signal']).name}"
    return running.reason or f"ended with exit code {outcome['code']}"
