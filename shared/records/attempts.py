"""Attempts at a stage and how they ended, recorded in the store so that no restart loses them."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.records.releases import read_record
from shared.store import NotFoundError, Store

# committed: its artifact counts; duplicate: another attempt was first; left: it was asked to stop;
# lost: another worker took the lease; hindered: the store or the disk did not take the result, or
# the worker runs another release; crashed; failed: trying again cannot help.
Ending = Literal["committed", "duplicate", "left", "lost", "hindered", "crashed", "failed"]
BLAMELESS = ("committed", "duplicate", "left", "hindered")


def now() -> str:
    """The current time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Attempt(BaseModel):
    """One attempt; `ending` stays None while it runs, and for good if its worker was killed."""

    model_config = ConfigDict(frozen=True)

    attempt: str
    host: str
    started: str
    from_step: int = 0
    reached_step: int = 0
    ended: str | None = None
    ending: Ending | None = None
    reason: str | None = None

    def made_progress(self) -> bool:
        """True when it stored a checkpoint beyond the one it started from."""
        return self.reached_step > self.from_step


class Failure(BaseModel):
    """Why a stage failed for good: a sentence for the user, and the attempt with the log."""

    model_config = ConfigDict(frozen=True)

    key: str
    reason: str
    attempt: str
    failed: str


class AttemptBook:
    """Attempts and failures of all stages."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, key: str, attempt: Attempt) -> None:
        """Record the attempt as it is now."""
        name = f"stages/{key}/attempts/{attempt.attempt}.json"
        self._store.put(name, attempt.model_dump_json().encode())

    def write_once(self, key: str, attempt: Attempt) -> None:
        """Record an attempt unless one with its id is recorded."""
        name = f"stages/{key}/attempts/{attempt.attempt}.json"
        self._store.create(name, attempt.model_dump_json().encode())

    def attempts(self, key: str) -> list[Attempt]:
        """All attempts at a stage, oldest first.

        One that a newer release recorded in a form of its own is left out: what this release does
        not understand counts neither for nor against the stage.
        """
        attempts = []
        for info in self._store.list(f"stages/{key}/attempts/"):
            if info.name.endswith(".json"):
                with contextlib.suppress(ValidationError):
                    attempts.append(Attempt.model_validate_json(self._store.get(info.name)))
        return sorted(attempts, key=lambda attempt: attempt.started)

    def fruitless(self, key: str, step: int) -> int:
        """How many attempts ended badly without getting beyond `step`, the newest checkpoint.

        Attempts that were asked to leave or were hindered do not count, nor those before a retry.
        The workers' clocks differ, so the order of the attempts in time does not matter.
        """
        forgiven = self._forgiven(key)
        return sum(
            attempt.from_step >= step
            and not attempt.made_progress()
            and attempt.ending not in BLAMELESS
            and attempt.attempt not in forgiven
            for attempt in self.attempts(key)
        )

    def _forgiven(self, key: str) -> set[str]:
        try:
            return set(json.loads(self._store.get(f"stages/{key}/retried")))
        except NotFoundError:
            return set()

    def fail(self, failure: Failure) -> None:
        """Record that the stage failed for good."""
        name = f"stages/{failure.key}/failure.json"
        self._store.put(name, failure.model_dump_json().encode())

    def failure(self, key: str) -> Failure | None:
        """The failure of a stage; None unless it failed for good."""
        try:
            data = self._store.get(f"stages/{key}/failure.json")
        except NotFoundError:
            return None
        return read_record(Failure, data, "why the stage failed")

    def failed(self, key: str) -> bool:
        """True when the stage failed for good."""
        return self._store.stat(f"stages/{key}/failure.json") is not None

    def forgive(self, key: str) -> None:
        """Let a failed stage be tried again: the attempts so far no longer count."""
        tried = [attempt.attempt for attempt in self.attempts(key)]
        self._store.put(f"stages/{key}/retried", json.dumps(tried).encode())
        self._store.delete(f"stages/{key}/failure.json")

    def keep_log(self, key: str, attempt: str, log: bytes) -> str:
        """Store an attempt's log; returns the object's name."""
        name = f"stages/{key}/attempts/{attempt}.log"
        self._store.put(name, log)
        return name

    def log(self, key: str, attempt: str) -> bytes:
        """The log of an ended attempt; NotFoundError while it runs."""
        return self._store.get(f"stages/{key}/attempts/{attempt}.log")
