"""What a stage sees: its parameters, its inputs, a place to write, and a way to be heard.

This is the child's side of the contract with the supervisor. It imports no torch and talks to no
store: the supervisor has laid the inputs out as directories and takes the output away.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from shared.failpoints import reached
from shared.stages.explainer_settings import ExplainerSettings

# Exit codes of a stage process, read by the supervisor.
DONE = 0
FAILED_FOR_GOOD = 65  # EX_DATAERR: trying again cannot help
HINDERED = 73  # EX_CANTCREAT: no space left, or a server away; worth another try later
LEFT = 75  # EX_TEMPFAIL: asked to stop, checkpoint written
PROGRESS_INTERVAL = 0.25  # seconds between progress events


class StageError(Exception):
    """The stage cannot succeed, however often it is tried; the sentence is for the user.

    `cause` is what a metric counts it under.
    """

    cause = "refused"


class NotFiniteError(StageError):
    """A loss, a gradient or a weight became infinite or no number at all."""

    cause = "not_finite"


class Leave(Exception):
    """Raised by `Stage.leave_if_asked` once a checkpoint is written: stop now, resume later."""


class Hindered(Exception):
    """Something that the stage needs from outside is away: to be tried again later.

    It counts as no attempt. What is worth keeping is in a checkpoint before this is raised; the
    sentence is for the user.
    """


@dataclass(frozen=True)
class Input:
    """An input artifact: the directory with its files, and the results of its manifest."""

    key: str
    path: Path
    results: Mapping[str, Any]


@dataclass
class Stage:
    """One attempt at a stage, as the code that computes it sees it.

    `output` is an empty directory for the files of the artifact, `scratch` one that is thrown away.
    `uploads` maps a sha256 digest to the local file of an uploaded corpus. `explainer` is the
    language model that this worker is set to.
    """

    key: str
    kind: str
    parameters: Mapping[str, Any]
    inputs: Mapping[str, Input]
    output: Path
    scratch: Path
    checkpoints: Path
    events: IO[str]
    uploads: Mapping[str, Path] = field(default_factory=dict)
    resume: Path | None = None
    checkpoint_seconds: float = 60.0
    explainer: ExplainerSettings = field(default_factory=ExplainerSettings)
    results: dict[str, Any] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _last_progress: float = 0.0
    _last_checkpoint: float = field(default_factory=time.monotonic)

    def input(self, name: str) -> Input:
        """The input of that name; KeyError if the plan did not give one."""
        return self.inputs[name]

    def group(self, name: str) -> list[Input]:
        """The numbered inputs name/0, name/1 .. in order."""
        found: list[Input] = []
        while f"{name}/{len(found)}" in self.inputs:
            found.append(self.inputs[f"{name}/{len(found)}"])
        return found

    def emit(self, event: str, **values: Any) -> None:
        """Send one event (a JSON line) to the supervisor."""
        self.events.write(json.dumps({"event": event, **values}) + "\n")
        self.events.flush()

    def progress(self, done: float, total: float, unit: str, **scalars: float) -> None:
        """Say how far the stage is; scalars (loss, tokens_per_second ..) become gauges.

        Calls closer together than PROGRESS_INTERVAL are dropped, except the last one.
        """
        now = time.monotonic()
        if now - self._last_progress < PROGRESS_INTERVAL and done < total:
            return
        self._last_progress = now
        self.emit("progress", done=done, total=total, unit=unit, **scalars)

    @property
    def stopping(self) -> bool:
        """True once the supervisor asked the stage to leave (SIGTERM)."""
        return self._stop.is_set()

    def stop_on_sigterm(self) -> None:
        """Turn SIGTERM into `stopping`; called once in the stage process's main thread."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())

    def checkpoint_due(self) -> bool:
        """True when the stage was asked to stop or the checkpoint interval has passed."""
        return self.stopping or time.monotonic() - self._last_checkpoint >= self.checkpoint_seconds

    def save_checkpoint(self, step: int, write: Callable[[Path], None]) -> None:
        """Let `write` fill a directory, and hand it to the supervisor only when it is whole."""
        part = self.checkpoints / f"{step}.part"
        whole = self.checkpoints / str(step)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        write(part)
        reached("inside-checkpoint")
        shutil.rmtree(whole, ignore_errors=True)
        part.rename(whole)
        self._last_checkpoint = time.monotonic()
        self.emit("checkpoint", step=step, path=str(whole))

    def leave_if_asked(self) -> None:
        """Raise Leave when the stage was asked to stop; call it right after save_checkpoint."""
        if self.stopping:
            raise Leave
