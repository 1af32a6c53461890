"""Which stages are done or failed, looked up in the store as rarely as possible.

A finished stage stays finished, so it is looked up once. Of the others only those whose inputs all
exist can have ended: a plan of a thousand stages costs a few look-ups, not a thousand. And when the
last stages of a plan exist, everything before them did: a finished experiment costs one look-up for
each of its last stages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from shared.experiments.states import Outline
from shared.store import LocalStore, ObjectInfo, Store

PARALLEL = 16  # look-ups at once, which hide the latency of an object store
COLLECTED = "collected.json"  # written when garbage is removed: done stages may be gone
ASK_COLLECTED = 5.0  # seconds between two looks at it
REMEMBERED_STAGES = 200_000  # about 25 MB; beyond it all stages are looked up again

Ended = Literal["done", "failed"]


class Survey:
    """Remembers which stages are done and which failed; safe to use from several threads.

    A stage that had not ended is looked up again after `fresh` seconds, or after a `hint`.
    """

    def __init__(self, store: Store, fresh: float = 0.0) -> None:
        self._store = store
        self.fresh = fresh
        self._lock = threading.Lock()
        self._done: set[str] = set()
        self._lost: set[str] = set()  # forgotten, and not seen again since
        self._seen: dict[str, tuple[float, Ended | None]] = {}  # not done: when seen, and how
        self._collected: tuple[float, ObjectInfo | None] = (0.0, None)  # when checked, what it was
        self._pool = ThreadPoolExecutor(PARALLEL, "survey") if _is_far(store) else None

    @property
    def known_done(self) -> Collection[str]:
        """Keys of the stages that are known to be done, without a look-up."""
        return self._done

    def look(self, outlines: Sequence[Outline]) -> tuple[set[str], set[str]]:
        """Keys of the finished and of the failed stages of these plans."""
        with self._lock:
            self._forget_old()
            self._look_up({key for outline in outlines for key in outline.last})
            for outline in outlines:
                if all(key in self._done for key in outline.last):
                    self._done |= outline.keys - self._lost
            open_ = [outline for outline in outlines if not outline.keys <= self._done]
            failed: set[str] = set()
            while open_:
                fronts = [{node.key for node in outline.frontier(self._done)} for outline in open_]
                keys = {key for front in fronts for key in front}
                self._look_up(keys)
                failed |= {key for key in keys if self._state(key) == "failed"}
                open_ = [
                    outline
                    for outline, front in zip(open_, fronts, strict=True)
                    if front & self._done
                ]
            done = {key for outline in outlines for key in outline.keys if key in self._done}
            return done, failed

    def hint(self, keys: Iterable[str]) -> None:
        """These stages may have changed: look them up again."""
        with self._lock:
            for key in keys:
                self._seen.pop(key, None)

    def hint_all(self) -> None:
        """Look up again every stage that had not ended."""
        with self._lock:
            self._seen.clear()

    def forget(self, keys: Iterable[str]) -> None:
        """Forget what is known of these stages: they were collected as garbage."""
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
        checked, before = self._collected
        if moment - checked >= ASK_COLLECTED:
            info = self._store.stat(COLLECTED)
            self._collected = (moment, info)
            if checked and info != before:
                self._done.clear()
        if len(self._done) > REMEMBERED_STAGES:
            self._done.clear()
        if len(self._seen) > REMEMBERED_STAGES:
            self._seen.clear()


def _is_far(store: Store) -> bool:
    """Whether a look-up has latency to hide; over a local directory threads only cost time."""
    return not isinstance(getattr(store, "inner", store), LocalStore)
