"""Attempts at a stage and the way they ended, kept in the store so that nothing forgets them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.store import NotFoundError, Store

Ending = Literal["committed", "duplicate", "left", "lost", "crashed", "failed"]


def now() -> str:
    """The time, UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Attempt(BaseModel):
    """One attempt; `ending` is None while it runs, and for ever if its worker was killed."""

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
        """True when it left a checkpoint beyond the one it started from."""
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

    def attempts(self, key: str) -> list[Attempt]:
        """All attempts at a stage, oldest first."""
        found = [
            Attempt.model_validate_json(self._store.get(info.name))
            for info in self._store.list(f"stages/{key}/attempts/")
            if info.name.endswith(".json")
        ]
        return sorted(found, key=lambda attempt: attempt.started)

    def fruitless(self, key: str) -> int:
        """How many attempts in a row ended badly without a new checkpoint.

        One that was asked to leave does not count; the count starts anew after a retry.
        """
        count = 0
        retried = self._retried(key)
        for attempt in reversed(self.attempts(key)):
            if attempt.made_progress() or attempt.started < retried:
                break
            count += attempt.ending not in ("left", "duplicate", "committed")
        return count

    def _retried(self, key: str) -> str:
        try:
            return self._store.get(f"stages/{key}/retried").decode()
        except NotFoundError:
            return ""

    def fail(self, failure: Failure) -> None:
        """Record that the stage failed for good."""
        name = f"stages/{failure.key}/failure.json"
        self._store.put(name, failure.model_dump_json().encode())

    def failure(self, key: str) -> Failure | None:
        """The failure of a stage, if it failed for good."""
        try:
            return Failure.model_validate_json(self._store.get(f"stages/{key}/failure.json"))
        except NotFoundError:
            return None

    def failed(self, key: str) -> bool:
        """True when the stage failed for good."""
        return self._store.stat(f"stages/{key}/failure.json") is not None

    def forgive(self, key: str) -> None:
        """Let a failed stage be tried again."""
        self._store.put(f"stages/{key}/retried", now().encode())
        self._store.delete(f"stages/{key}/failure.json")

    def keep_log(self, key: str, attempt: str, log: bytes) -> str:
        """Store an attempt's log; returns the object's name."""
        name = f"stages/{key}/attempts/{attempt}.log"
        self._store.put(name, log)
        return name

    def log(self, key: str, attempt: str) -> bytes:
        """The log of an ended attempt; NotFoundError while it runs."""
        return self._store.get(f"stages/{key}/attempts/{attempt}.log")
