"""What is known of stages, looked up in the store as seldom as can be.

A finished stage stays finished, so it is looked up once. Of the others only those can have ended
whose inputs are all there: a plan of a thousand stages costs a few look-ups, not a thousand. And
when the last stages of a plan are there, everything before them was: a finished experiment costs
one look-up for each of its last stages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from shared.experiments.states import Outline
from shared.store import LocalStore, ObjectInfo, Store

PARALLEL = 16  # look-ups at once: what hides the latency of an object store
COLLECTED = "collected.json"  # written when garbage was removed: what was done may be gone
ASK_COLLECTED = 5.0  # seconds between two looks at it
KNOWN_LIMIT = 200_000  # stages; about 25 MB. Beyond it everything is looked up again

Ended = Literal["done", "failed"]


class Survey:
    """Which stages are done and which failed; may be used by several threads.

    What had not ended is looked up again after `fresh` seconds, or when `hint` says that it may
    have changed.
    """

    def __init__(self, store: Store, fresh: float = 0.0) -> None:
        self._store = store
        self.fresh = fresh
        self._lock = threading.Lock()
        self._done: set[str] = set()
        self._lost: set[str] = set()  # forgotten, and not seen again since
        self._seen: dict[str, tuple[float, Ended | None]] = {}  # not done: when seen, and how
        self._collected: tuple[float, ObjectInfo | None] = (0.0, None)  # when asked, what was seen
        self._pool = ThreadPoolExecutor(PARALLEL, "survey") if _is_far(store) else None

    @property
    def known(self) -> Collection[str]:
        """Keys of the stages that are known to be done, without a look-up."""
        return self._done

    def look(self, outlines: Sequence[Outline]) -> tuple[set[str], set[str]]:
        """Keys of the finished and of the failed stages of these plans."""
        with self._lock:
            self._forget_old()
            self._look_up({key for one in outlines for key in one.last})
            for one in outlines:
                if all(key in self._done for key in one.last):
                    self._done |= one.keys - self._lost
            open_ = [one for one in outlines if not one.keys <= self._done]
            failed: set[str] = set()
            while open_:
                front = [(one, {node.key for node in one.frontier(self._done)}) for one in open_]
                keys = {key for _, some in front for key in some}
                self._look_up(keys)
                failed |= {key for key in keys if self._state(key) == "failed"}
                open_ = [one for one, some in front if some & self._done]
            done = {key for one in outlines for key in one.keys if key in self._done}
            return done, failed

    def hint(self, keys: Iterable[str]) -> None:
        """Something may have happened to these stages: look again."""
        with self._lock:
            for key in keys:
                self._seen.pop(key, None)

    def hint_all(self) -> None:
        """Look everything up again that had not ended."""
        with self._lock:
            self._seen.clear()

    def forget(self, keys: Iterable[str]) -> None:
        """These stages are not there, whatever was known of them (they were collected)."""
        with self._lock:
            for key in keys:
                self._seen.pop(key, None)
                self._done.discard(key)
                self._lost.add(key)

    def _state(self, key: str) -> Ended | None:
        if key in self._done:
            return "done"
        return self._seen[key][1] if key in self._seen else None

    def _look_up(self, keys: Iterable[str]) -> None:
        moment = time.monotonic()
        due = [
            key
            for key in keys
            if key not in self._done
            and (key not in self._seen or moment - self._seen[key][0] >= self.fresh)
        ]
        states = self._pool.map(self._ended, due) if self._pool else map(self._ended, due)
        for key, state in zip(due, states, strict=True):
            if state == "done":
                self._done.add(key)
                self._lost.discard(key)
                self._seen.pop(key, None)
            else:
                self._seen[key] = (moment, state)

    def _ended(self, key: str) -> Ended | None:
        if self._store.stat(f"stages/{key}/manifest.json") is not None:
            return "done"
        if self._store.stat(f"stages/{key}/failure.json") is not None:
            return "failed"
        return None

    def _forget_old(self) -> None:
        moment = time.monotonic()
        asked, before = self._collected
        if moment - asked >= ASK_COLLECTED:
            info = self._store.stat(COLLECTED)
            self._collected = (moment, info)
            if asked and info != before:
                self._done.clear()
        if len(self._done) > KNOWN_LIMIT:
            self._done.clear()
        if len(self._seen) > KNOWN_LIMIT:
            self._seen.clear()


def _is_far(store: Store) -> bool:
    """Whether a look-up takes a journey; threads only cost time over a local directory."""
    return not isinstance(getattr(store, "inner", store), LocalStore)
