"""Find and remove objects in the store that nothing needs any more, once they are old enough.

The age makes this safe beside running workers: an attempt stores its files at its end and its
manifest right after, and a checkpoint that counts has a pointer.
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

LEAST_AGE = 3600.0  # seconds; a worker with a slow link may need that long to store a result
PASSING = ("idempotency/", "probes/")  # folders whose objects lose their use after a while

Kind = Literal["attempt", "checkpoint", "artifact", "upload", "note"]


@dataclass(frozen=True)
class Garbage:
    """Objects to delete together; the one that makes the others count comes first."""

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
        """Everything that can be deleted, in order of name; lists the whole store.

        Raises OtherReleaseError when there is an experiment that this release cannot read: what it
        needs is then unknown.
        """
        stages, digests = self._used()
        for key, group in groupby(self._store.list("stages/"), lambda info: _part(info.name, 1)):
            yield from self._of_stage(key, list(group), used=key in stages)
        for info in self._store.list("blobs/"):
            if _part(info.name, 1) not in digests:
                yield from self._old("upload", info.name, [info])
        for folder in PASSING:
            for info in self._store.list(folder):
                yield from self._old("note", info.name, [info])

    def remove(self, garbage: Iterable[Garbage]) -> int:
        """Delete what `find` found, except what an experiment needs by now; returns the bytes.

        Raises OtherReleaseError as `find` does.
        """
        stages, digests = self._used()
        removed = 0
        # Announced first: readers that hold a stage for done then look again (see `Survey`).
        self._store.put(COLLECTED, json.dumps({"at": now()}).encode())
        for item in garbage:
            owner = _part(item.names[0], 1)
            if (item.kind == "artifact" and owner in stages) or (
                item.kind == "upload" and owner in digests
            ):
                continue
            for name in item.names:
                self._store.delete(name)
            removed += item.bytes
        self._store.put(COLLECTED, json.dumps({"at": now(), "bytes": removed}).encode())
        return removed

    def _used(self) -> tuple[set[str], set[str]]:
        """Keys of the stages that experiments use, and digests of the uploads that experiments use
        or users have named.
        """
        experiments = Experiments(self._store)
        stages: set[str] = set()
        digests = {self._digest(info.name) for info in self._store.list("uploads/")}
        for listed in experiments.listed():
            with contextlib.suppress(NotFoundError):  # deleted since it was listed
                card = experiments.card(listed.id, listed.modified)
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
            objects.sort(key=lambda info: (info.name not in first, info.name))
            yield from self._old("artifact", f"stage {key[:12]}", objects)
            return
        manifest = self._artifacts.manifest(key)
        committed = manifest.attempt if manifest else None
        for attempt, files in _folders(objects, f"stages/{key}/files/").items():
            if attempt != committed:
                yield from self._old("attempt", f"attempt {attempt[:12]} at {key[:12]}", files)
        pointed = None if manifest else self._checkpoints.newest(key)
        needed = set(pointed.places.values()) if pointed else set()
        for folder, files in _folders(objects, f"stages/{key}/checkpoints/").items():
            left = [info for info in files if info.name not in needed]
            yield from self._old("checkpoint", f"checkpoint {folder} of {key[:12]}", left)
        if manifest:
            left = [info for info in objects if info.name == f"stages/{key}/checkpoint.json"]
            yield from self._old("checkpoint", f"pointer of {key[:12]}", left)

    def _old(self, kind: Kind, title: str, objects: list[ObjectInfo]) -> Iterator[Garbage]:
        """The objects as garbage, if there are any and even the newest is old enough."""
        if not objects:
            return
        age = time.time() - max(info.modified for info in objects)
        if age >= self._age:
            names = tuple(info.name for info in objects)
            yield Garbage(kind, title, names, sum(info.bytes for info in objects), age)


def _part(name: str, number: int) -> str:
    return name.split("/")[number]


def _folders(objects: list[ObjectInfo], prefix: str) -> dict[str, list[ObjectInfo]]:
    """The objects under a prefix, by their folder below it."""
    folders: dict[str, list[ObjectInfo]] = {}
    for info in objects:
        if info.name.startswith(prefix):
            folders.setdefault(info.name.removeprefix(prefix).split("/")[0], []).append(info)
    return folders
