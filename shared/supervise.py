"""The supervisor: takes a lease, runs one stage in a child process, commits what it made.

It holds no torch and believes nothing the child does not prove: a crash, a hang, an out-of-memory
kill are ordinary endings with a log. The order of effects is what makes it safe: files, then the
manifest (created only if absent), then the lease goes.
"""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from shared.artifacts import Artifacts, Manifest
from shared.attempts import Attempt, AttemptBook, Ending, Failure, now
from shared.checkpoints import Checkpoints
from shared.child import AssignedInput, Assignment
from shared.lease import Leases
from shared.metrics import WorkerMetrics
from shared.plan import PlannedStage
from shared.settings import Settings
from shared.spawner import ChildProcess, Spawner
from shared.stage import DONE, FAILED_FOR_GOOD, LEFT
from shared.store import NotFoundError, Store
from shared.upload_store import UploadStore

LOOK = 0.1  # seconds between two looks at the child
LOG_LIMIT = 4 << 20  # bytes of a log that are kept: its end

log = structlog.get_logger()


@dataclass
class Running:
    """A stage while it runs."""

    stage: PlannedStage
    attempt: Attempt
    directory: Path
    child: ChildProcess
    began: float = field(default_factory=time.monotonic)
    spoke: float = field(default_factory=time.monotonic)
    renewed: float = 0.0
    read: int = 0
    progress: dict[str, Any] = field(default_factory=dict)
    results: dict[str, Any] | None = None
    reason: str | None = None
    term_sent: float | None = None
    lost: bool = False
    stalled: bool = False


class Supervisor:
    """Runs stages one at a time for a worker process."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        leases: Leases,
        spawner: Spawner,
        metrics: WorkerMetrics,
        draining: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._store = store
        self._leases = leases
        self._spawner = spawner
        self._metrics = metrics
        self._draining = draining
        self._artifacts = Artifacts(store)
        self._book = AttemptBook(store)
        self._checkpoints = Checkpoints(store)
        self._uploads = UploadStore(store)
        self._work = settings.data.resolve() / "work"

    def run(self, key: str) -> Ending | None:
        """Run the stage unless it is done, failed, not ready or run by somebody else.

        Returns how the attempt ended; None when there was nothing to do.
        """
        if self._draining() or self._settled(key):
            return None
        try:
            stage = PlannedStage.model_validate_json(self._store.get(f"stages/{key}/stage.json"))
        except NotFoundError:
            log.warning("no such stage", stage=key)
            return None
        inputs = {name: self._artifacts.manifest(k) for name, k in stage.inputs.items()}
        if any(manifest is None for manifest in inputs.values()):
            return None
        attempt_id = uuid.uuid4().hex
        if not self._leases.acquire(key, attempt_id):
            return None
        try:
            if self._settled(key):
                return None
            found = {name: manifest for name, manifest in inputs.items() if manifest is not None}
            return self._attempt(stage, found, attempt_id)
        finally:
            self._leases.release(key, attempt_id)

    def _settled(self, key: str) -> bool:
        return self._artifacts.exists(key) or self._book.failed(key)

    def _attempt(
        self, stage: PlannedStage, inputs: dict[str, Manifest], attempt_id: str
    ) -> Ending | None:
        checkpoint = self._checkpoints.newest(stage.key)
        step = checkpoint.step if checkpoint else 0
        attempt = Attempt(
            attempt=attempt_id,
            host=socket.gethostname(),
            started=now(),
            from_step=step,
            reached_step=step,
        )
        if self._given_up(stage, attempt, "the worker that ran it was killed"):
            return "failed"
        self._book.write(stage.key, attempt)
        directory = self._work / attempt_id
        try:
            self._prepare(stage, inputs, directory)
            running = Running(stage, attempt, directory, self._spawner.start(directory))
            with self._metrics.running(stage.service, stage.kind):
                how = self._watch(running)
            ending = self._end(running, how)
        except EOFError as error:
            ending = self._close(stage, attempt, "crashed", str(error))
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return ending

    def _prepare(self, stage: PlannedStage, inputs: dict[str, Manifest], directory: Path) -> None:
        for name in ("output", "scratch", "checkpoints"):
            (directory / name).mkdir(parents=True)
        cache = self._settings.data.resolve() / "cache"
        nothing = directory / "nothing"
        nothing.mkdir()
        laid_out = {
            name: AssignedInput(
                key=manifest.key,
                path=nothing if name in stage.light else self._artifacts.lay_out(manifest, cache),
                results=manifest.results,
            )
            for name, manifest in inputs.items()
        }
        checkpoint = self._checkpoints.newest(stage.key)
        resume = None
        if checkpoint is not None:
            resume = self._checkpoints.fetch(checkpoint, directory / "resume")
        assignment = Assignment(
            key=stage.key,
            kind=stage.kind,
            service=stage.service,
            parameters=stage.parameters,
            inputs=laid_out,
            uploads={
                digest: self._uploads.local_copy(digest, directory) for digest in stage.uploads
            },
            resume=resume,
            checkpoint_seconds=self._settings.checkpoint,
        )
        (directory / "assignment.json").write_text(assignment.model_dump_json())

    # -------------------------------------------------------------------------- while it runs

    def _watch(self, running: Running) -> dict[str, Any]:
        """Follow the child to its end; returns the spawner's account of it."""
        while True:
            how = running.child.ended(LOOK)
            self._read_events(running)
            if how is not None:
                return how
            moment = time.monotonic()
            if moment - running.renewed >= self._settings.lease / 5:
                self._renew(running, moment)
            self._stop_if_needed(running, moment)

    def _read_events(self, running: Running) -> None:
        try:
            with (running.directory / "events.jsonl").open("rb") as handle:
                handle.seek(running.read)
                data = handle.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        running.read += len(whole)
        for line in whole.splitlines():
            running.spoke = time.monotonic()
            self._handle(running, json.loads(line))

    def _handle(self, running: Running, event: dict[str, Any]) -> None:
        match event.pop("event"):
            case "progress":
                running.progress = event
                self._metrics.progress(running.stage.service, running.stage.kind, event)
            case "checkpoint":
                step, path = int(event["step"]), Path(event["path"])
                if path.exists():  # a newer one may have replaced it while we were away
                    self._checkpoints.save(running.stage.key, running.attempt.attempt, step, path)
                    running.attempt = running.attempt.model_copy(update={"reached_step": step})
                    self._book.write(running.stage.key, running.attempt)
            case "results":
                running.results = event
            case "failed" | "crashed":
                running.reason = event["reason"]

    def _renew(self, running: Running, moment: float) -> None:
        running.renewed = moment
        live = {
            **running.progress,
            "attempt": running.attempt.attempt,
            "host": running.attempt.host,
            "started": running.attempt.started,
            "seconds": round(moment - running.began, 1),
        }
        key = running.stage.key
        if not self._leases.renew(key, running.attempt.attempt, live):
            running.lost = True
            running.child.send(signal.SIGKILL)
        elif self._leases.asked_to_stop(key):
            self._ask_to_leave(running, moment)

    def _ask_to_leave(self, running: Running, moment: float) -> None:
        if running.term_sent is None:
            running.term_sent = moment
            running.child.send(signal.SIGTERM)

    def _stop_if_needed(self, running: Running, moment: float) -> None:
        if self._draining():
            self._ask_to_leave(running, moment)
        if running.term_sent is not None and moment - running.term_sent > self._settings.grace:
            running.child.send(signal.SIGKILL)
        if moment - running.spoke > self._settings.stall:
            running.stalled = True
            running.child.send(signal.SIGKILL)

    # ------------------------------------------------------------------------------ the ending

    def _end(self, running: Running, how: dict[str, Any]) -> Ending:
        stage, attempt = running.stage, running.attempt
        name = self._book.keep_log(stage.key, attempt.attempt, _tail(running.directory / "log.txt"))
        seconds = time.monotonic() - running.began
        ending: Ending
        if running.lost:
            ending, reason = "lost", "another worker took over the lease"
        elif how["code"] == DONE and running.results is not None:
            ending, reason = self._commit(running, how, seconds, name), None
        elif how["code"] == LEFT or (running.term_sent is not None and how["code"] != DONE):
            ending, reason = "left", None
        elif how["code"] == FAILED_FOR_GOOD:
            ending, reason = "failed", running.reason or "the stage failed without a reason"
        else:
            ending, reason = "crashed", self._why(running, how)
        ending = self._close(stage, attempt, ending, reason)
        self._metrics.ended(stage.service, stage.kind, ending, seconds)
        return ending

    def _close(
        self, stage: PlannedStage, attempt: Attempt, ending: Ending, reason: str | None
    ) -> Ending:
        """Record the ending; a crash too many, or a refusal, fails the stage."""
        attempt = attempt.model_copy(update={"ended": now(), "ending": ending, "reason": reason})
        self._book.write(stage.key, attempt)
        if ending == "failed":
            self._fail(stage, attempt, reason or "")
        elif ending == "crashed" and self._given_up(stage, attempt, reason or ""):
            ending = "failed"
        log.info("stage ended", stage=stage.key, title=stage.title, ending=ending, reason=reason)
        return ending

    def _given_up(self, stage: PlannedStage, attempt: Attempt, reason: str) -> bool:
        """Fail the stage if too many attempts in a row made no progress."""
        tries = self._book.fruitless(stage.key)
        if tries < self._settings.attempts:
            return False
        self._fail(stage, attempt, f"{tries} attempts without progress; the last one: {reason}")
        return True

    @staticmethod
    def _why(running: Running, how: dict[str, Any]) -> str:
        if running.stalled:
            return "it said nothing for too long and was stopped"
        if how["signal"] == signal.SIGKILL:
            return "killed by the system, most likely out of memory; use smaller batches or models"
        if how["signal"] is not None:
            return f"ended by signal {signal.Signals(how['signal']).name}"
        return running.reason or f"ended with exit code {how['code']}"

    def _fail(self, stage: PlannedStage, attempt: Attempt, reason: str) -> None:
        self._book.fail(
            Failure(key=stage.key, reason=reason, attempt=attempt.attempt, failed=now())
        )

    def _commit(
        self, running: Running, how: dict[str, Any], seconds: float, log_name: str
    ) -> Ending:
        stage, attempt, told = running.stage, running.attempt, running.results
        assert told is not None
        files = self._artifacts.upload(stage.key, attempt.attempt, running.directory / "output")
        manifest = Manifest(
            key=stage.key,
            kind=stage.kind,
            version=stage.version,
            parameters=stage.parameters,
            inputs=stage.inputs,
            files=files,
            results=told["results"],
            attempt=attempt.attempt,
            started=attempt.started,
            finished=now(),
            seconds=round(seconds, 3),
            cpu_seconds=how["cpu_seconds"],
            peak_memory_bytes=how["peak_memory_bytes"],
            host=attempt.host,
            hardware=told["hardware"],
            libraries=told["libraries"],
            log=log_name,
        )
        first = self._artifacts.commit(manifest)
        if first:
            self._checkpoints.delete(stage.key)
        return "committed" if first else "duplicate"


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            size = path.stat().st_size
            handle.seek(max(0, size - LOG_LIMIT))
            return handle.read()
    except FileNotFoundError:
        return b""
