"""What the store holds and nobody needs any more. Nothing is removed before a safety age.

The age is what makes this safe beside running workers: an attempt stores its files at its end and
its manifest right after, and a checkpoint that counts is pointed to.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from shared.experiments.experiments import Experiments
from shared.experiments.survey import COLLECTED
from shared.records.artifacts import Artifacts
from shared.records.attempts import now
from shared.records.checkpoints import Checkpoints
from shared.store import NotFoundError, ObjectInfo, Store

LEAST_AGE = 3600.0  # seconds; a worker with a slow link may need that long for a result
PASSING = ("idempotency/", "probes/")  # folders whose objects are of no use after a while

Kind = Literal["attempt", "checkpoint", "artifact", "upload", "note"]


@dataclass(frozen=True)
class Garbage:
    """Objects that can go together, the one that makes the others count first."""

    kind: Kind
    title: str
    names: tuple[str, ...]
    bytes: int
    age: float


class Collector:
    """Finds and removes garbage older than `age` seconds; ValueError below LEAST_AGE."""

    def __init__(self, store: Store, age: float) -> None:
        if age < LEAST_AGE:
            raise ValueError(f"age: at least {LEAST_AGE:.0f} seconds, not {age:.0f}")
        self._store = store
        self._age = age
        self._artifacts = Artifacts(store)
        self._checkpoints = Checkpoints(store)

    def find(self) -> Iterator[Garbage]:
        """Everything that can go, by name; reads the whole listing of the store.

        OtherReleaseError when there is an experiment that this release cannot read: nobody knows
        here what it needs.
        """
        stages, digests = self._used()
        for key, group in groupby(self._store.list("stages/"), lambda one: _part(one.name, 1)):
            yield from self._of_stage(key, list(group), used=key in stages)
        for info in self._store.list("blobs/"):
            if _part(info.name, 1) not in digests:
                yield from self._old("upload", info.name, [info])
        for folder in PASSING:
            for info in self._store.list(folder):
                yield from self._old("note", info.name, [info])

    def remove(self, garbage: Iterable[Garbage]) -> int:
        """Delete what `find` found, except what an experiment needs by now; returns the bytes.
        OtherReleaseError as for `find`.
        """
        stages, digests = self._used()
        removed = 0
        # Said first: whoever believes that a stage is done looks again (see `Survey`).
        self._store.put(COLLECTED, json.dumps({"at": now()}).encode())
        for one in garbage:
            owner = _part(one.names[0], 1)
            if (one.kind == "artifact" and owner in stages) or (
                one.kind == "upload" and owner in digests
            ):
                continue
            for name in one.names:
                self._store.delete(name)
            removed += one.bytes
        self._store.put(COLLECTED, json.dumps({"at": now(), "bytes": removed}).encode())
        return removed

    def _used(self) -> tuple[set[str], set[str]]:
        """Keys of the stages that experiments name, and digests of the uploads that experiments or
        users name.
        """
        experiments = Experiments(self._store)
        stages: set[str] = set()
        digests = {self._digest(info.name) for info in self._store.list("uploads/")}
        for one in experiments.listed():
            with contextlib.suppress(NotFoundError):  # deleted since it was listed
                card = experiments.card(one.id, one.modified)
                stages |= card.outline.keys
                digests |= card.uploads
        return stages, digests

    def _digest(self, name: str) -> str:
        try:
            return str(json.loads(self._store.get(name))["digest"])
        except NotFoundError:
            return ""

    def _of_stage(self, key: str, objects: list[ObjectInfo], *, used: bool) -> Iterator[Garbage]:
        if not used:
            first = (f"stages/{key}/manifest.json", f"stages/{key}/stage.json")
            objects.sort(key=lambda one: (one.name not in first, one.name))
            yield from self._old("artifact", f"stage {key[:12]}", objects)
            return
        manifest = self._artifacts.manifest(key)
        kept = manifest.attempt if manifest else None
        for attempt, files in _folders(objects, f"stages/{key}/files/").items():
            if attempt != kept:
                yield from self._old("attempt", f"attempt {attempt[:12]} at {key[:12]}", files)
        pointed = None if manifest else self._checkpoints.newest(key)
        needed = set(pointed.places.values()) if pointed else set()
        for folder, files in _folders(objects, f"stages/{key}/checkpoints/").items():
            left = [one for one in files if one.name not in needed]
            yield from self._old("checkpoint", f"checkpoint {folder} of {key[:12]}", left)
        if manifest:
            left = [one for one in objects if one.name == f"stages/{key}/checkpoint.json"]
            yield from self._old("checkpoint", f"pointer of {key[:12]}", left)

    def _old(self, kind: Kind, title: str, objects: list[ObjectInfo]) -> Iterator[Garbage]:
        """The objects as garbage, when there are any and even the youngest is old enough."""
        if not objects:
            return
        age = time.time() - max(one.modified for one in objects)
        if age >= self._age:
            names = tuple(one.name for one in objects)
            yield Garbage(kind, title, names, sum(one.bytes for one in objects), age)


def _part(name: str, number: int) -> str:
    return name.split("/")[number]


def _folders(objects: list[ObjectInfo], prefix: str) -> dict[str, list[ObjectInfo]]:
    """The objects under a prefix by the folder they lie in."""
    found: dict[str, list[ObjectInfo]] = {}
    for one in objects:
        if one.name.startswith(prefix):
            found.setdefault(one.name.removeprefix(prefix).split("/")[0], []).append(one)
    return found
