"""Follow a running child: its events, its silence, and whether it should leave."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from shared.plan import PlannedStage
from shared.records.artifacts import Delivery, Descriptions
from shared.records.attempts import AttemptBook
from shared.records.checkpoints import Checkpoints
from shared.settings import Settings
from shared.store import Store, StoreError
from shared.telemetry.metrics import WorkerMetrics
from shared.worker.heartbeat import Heartbeat
from shared.worker.relay import Relay
from shared.worker.spawner import ChildProcess

LOOK = 0.1  # seconds between two looks at the child
SAVE_AGAIN = 2.0  # seconds until a checkpoint that the store did not take is offered again

log = structlog.get_logger()


@dataclass
class Running:
    """A stage while it runs. `spoke` is when it last wrote an event, `term_sent` when it was asked
    to leave (both on the monotonic clock), `read` how many bytes of its events were read.
    """

    stage: PlannedStage
    directory: Path
    child: ChildProcess
    beat: Heartbeat
    began: float = field(default_factory=time.monotonic)
    spoke: float = field(default_factory=time.monotonic)
    read: int = 0
    results: dict[str, Any] | None = None
    reason: str | None = None
    term_sent: float | None = None
    stalled: bool = False


@dataclass
class Unsaved:
    """A checkpoint that the store has not taken yet."""

    step: int
    directory: Path
    files: Delivery
    again: float = 0.0


class Watch:
    """Follows one child to its end."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: WorkerMetrics,
        draining: Callable[[], bool],
        running: Running,
    ) -> None:
        self._settings = settings
        self._book = AttemptBook(store)
        self._checkpoints = Checkpoints(store)
        self._metrics = metrics
        self._draining = draining
        self._running = running
        self._unsaved: Unsaved | None = None
        self._described = Descriptions()
        self._relay = Relay(running.directory / "log.txt")
        metrics.spoke()

    def follow(self) -> dict[str, Any]:
        """Watch until the child ends; returns the spawner's message about its end.

        Whatever goes wrong here, the child does not live on unwatched.
        """
        try:
            return self._follow()
        except EOFError:
            raise
        except BaseException:
            self._running.child.kill()
            raise

    def _follow(self) -> dict[str, Any]:
        while True:
            outcome = self._running.child.ended(LOOK)
            self._read_events()
            self._relay.look(last=outcome is not None)
            self._save()
            if outcome is not None:
                return outcome
            self._stop_if_needed(time.monotonic())

    def _read_events(self) -> None:
        running = self._running
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
            self._metrics.spoke()
            self._handle(json.loads(line))

    def _handle(self, event: dict[str, Any]) -> None:
        running = self._running
        match event.pop("event"):
            case "progress":
                running.beat.progress = event
                self._metrics.progress(running.stage.service, running.stage.kind, event)
            case "checkpoint":
                self._take(int(event["step"]), Path(event["path"]))
            case "results":
                running.results = event
            case "failed" | "crashed" | "hindered":
                running.reason = event["reason"]
                if "cause" in event:
                    self._metrics.refused(event["cause"])

    def _take(self, step: int, path: Path) -> None:
        """Remember a new checkpoint; it replaces one that is not saved yet."""
        self._metrics.checkpoint_written()
        if self._unsaved is not None:
            shutil.rmtree(self._unsaved.directory, ignore_errors=True)
        key, attempt = self._running.stage.key, self._running.beat.attempt.attempt
        files = self._checkpoints.delivery(key, attempt, step, path, self._described)
        self._unsaved = Unsaved(step, path, files)

    def _save(self) -> None:
        """Store the newest checkpoint, unless another attempt has taken the lease."""
        unsaved, running = self._unsaved, self._running
        if unsaved is None or running.beat.lost or time.monotonic() < unsaved.again:
            return
        try:
            self._checkpoints.save(running.stage.key, unsaved.step, unsaved.files)
            reached = running.beat.attempt.model_copy(update={"reached_step": unsaved.step})
            running.beat.attempt = reached
            self._book.write(running.stage.key, reached)
        except OSError as error:  # of the store, or a full disk: the stage itself goes on
            log.warning("checkpoint not saved", stage=running.stage.key, error=str(error))
            unsaved.again = time.monotonic() + SAVE_AGAIN
            return
        stage = running.stage
        self._metrics.checkpoint_saved(stage.service, stage.kind)
        log.info("checkpoint saved", stage=stage.key, step=unsaved.step)
        shutil.rmtree(unsaved.directory, ignore_errors=True)
        self._unsaved = None

    def save_now(self) -> None:
        """Store an unsaved checkpoint at once; StoreError when the store still does not take it."""
        if self._unsaved is not None:
            self._unsaved.again = 0.0
            self._save()
        if self._unsaved is not None and not self._running.beat.lost:
            raise StoreError("the checkpoint could not be stored")

    def _stop_if_needed(self, moment: float) -> None:
        running = self._running
        if running.beat.lost:
            running.child.send(signal.SIGKILL)
        if running.term_sent is None and (self._draining() or running.beat.unwanted):
            running.term_sent = moment
            running.child.send(signal.SIGTERM)
        if running.term_sent is not None and moment - running.term_sent > self._settings.grace:
            running.child.send(signal.SIGKILL)
        if moment - running.spoke > self._settings.stall:
            running.stalled = True
            running.child.send(signal.SIGKILL)
