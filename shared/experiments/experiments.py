"""Experiments in the store: the spec, the plan, and whether somebody cancelled it.

Everything else about an experiment is derived: see shared.experiments.states.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.experiments.states import (
    ExperimentState,
    Outline,
    StageState,
    World,
    experiment_state,
    stage_states,
)
from shared.experiments.survey import Survey
from shared.plan import Plan
from shared.queue.leases import Leases
from shared.records.artifacts import Artifacts, Manifest
from shared.records.attempts import AttemptBook, now
from shared.records.releases import OtherReleaseError, read_record
from shared.stages.report import REPORT
from shared.store import NotFoundError, Store

FRESH = 0.5  # seconds for which readers believe that a stage has not ended
KEPT_EXPERIMENTS = 32  # with their plans, of about half a megabyte each
KEPT_CARDS = 20_000
KEPT_MANIFESTS = 2_000


class Experiment(BaseModel):
    """An experiment as it was submitted; `owner` is the name of the API key ("" without keys)."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    owner: str = ""
    submitted: str
    spec: dict[str, Any]
    plan: Plan

    @cached_property
    def outline(self) -> Outline:
        """The order of its stages."""
        return Outline.of(self.plan)


@dataclass(frozen=True)
class Card:
    """An experiment without spec and parameters: what lists and the reconciler need of it.

    `report` is the key of the stage that writes the report, `uploads` the digests that stages read.
    """

    id: str
    name: str
    owner: str
    submitted: str
    outline: Outline
    report: str | None
    uploads: frozenset[str]

    @staticmethod
    def of(experiment: Experiment) -> Card:
        """The card of an experiment."""
        stages = experiment.plan.stages
        return Card(
            id=experiment.id,
            name=experiment.name,
            owner=experiment.owner,
            submitted=experiment.submitted,
            outline=experiment.outline,
            report=next((stage.key for stage in stages if stage.kind == REPORT.name), None),
            uploads=frozenset(digest for stage in stages for digest in stage.uploads),
        )


@dataclass(frozen=True)
class Listed:
    """An experiment that the store has. Submitting it again after a deletion changes `modified`."""

    id: str
    modified: float
    cancelled: bool


@dataclass(frozen=True)
class Standing:
    """Where an experiment stands at one moment."""

    state: ExperimentState
    stages: dict[str, StageState]
    progress: dict[str, dict[str, Any]]


def experiment_id(name: str, spec: dict[str, Any]) -> str:
    """The id of a resolved spec: the same words and the same data are the same experiment."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


class Experiments:
    """Reading and changing experiments. What never changes is kept, as far as it is small."""

    def __init__(self, store: Store, fresh: float = FRESH) -> None:
        self._store = store
        self._artifacts = Artifacts(store)
        self._book = AttemptBook(store)
        self.survey = Survey(store, fresh)
        self._lock = threading.Lock()
        self._live: set[str] = set()  # leased when last seen
        self._kept = lru_cache(KEPT_EXPERIMENTS)(self._read)
        self._cards = lru_cache(KEPT_CARDS)(self._read_card)
        self._manifests = lru_cache(KEPT_MANIFESTS)(self._read_manifest)

    def submit(self, name: str, spec: dict[str, Any], plan: Plan, owner: str = "") -> Experiment:
        """Store an experiment, its stages first; submitting it again returns the one that is."""
        number = experiment_id(name, spec)
        experiment = Experiment(
            id=number, name=name, owner=owner, submitted=now(), spec=spec, plan=plan
        )
        self._describe(plan)
        data = experiment.model_dump_json().encode()
        if not self._store.create(f"experiments/{number}/experiment.json", data):
            return self.get(number)
        return experiment

    def describe(self, number: str) -> None:
        """Store again what the stages of an experiment are, where that is not stored."""
        self._describe(self.get(number).plan)

    def _describe(self, plan: Plan) -> None:
        for stage in plan.stages:
            self._store.create(f"stages/{stage.key}/stage.json", stage.model_dump_json().encode())

    def get(self, number: str) -> Experiment:
        """The experiment of that id; NotFoundError if there is none, OtherReleaseError if a newer
        release wrote it in a way that this one cannot read.
        """
        return self._kept(number, self._modified(number))

    def card(self, number: str, modified: float | None = None) -> Card:
        """The short form of an experiment; errors as for `get`.

        `modified` saves a look-up where a listing gave it.
        """
        card = self._cards(number, self._modified(number) if modified is None else modified)
        if isinstance(card, str):
            raise OtherReleaseError(card)
        return card

    def _modified(self, number: str) -> float:
        try:
            info = self._store.stat(f"experiments/{number}/experiment.json")
        except ValueError:
            info = None
        if info is None:
            raise NotFoundError(number)
        return info.modified

    def _read(self, number: str, _modified: float) -> Experiment:
        data = self._store.get(f"experiments/{number}/experiment.json")
        return read_record(Experiment, data, number)

    def _read_card(self, number: str, modified: float) -> Card | str:
        """The card, or why there is none: that is kept too, or every look would read it again."""
        try:
            return Card.of(self._read(number, modified))
        except OtherReleaseError as error:
            return str(error)

    def listed(self) -> list[Listed]:
        """All experiments, oldest first."""
        infos = {info.name: info.modified for info in self._store.list("experiments/")}
        found = [
            Listed(number, modified, f"experiments/{number}/cancelled" in infos)
            for name, modified in infos.items()
            for _, number, file in [name.split("/")]
            if file == "experiment.json"
        ]
        return sorted(found, key=lambda one: (one.modified, one.id))

    def cards(self) -> list[tuple[Listed, Card]]:
        """All experiments, oldest first, without those that are deleted in this moment or that
        this release cannot read.
        """
        found = []
        for one in self.listed():
            with contextlib.suppress(NotFoundError, OtherReleaseError):
                found.append((one, self.card(one.id, one.modified)))
        return found

    def cancelled(self, number: str) -> bool:
        """True when somebody cancelled the experiment and nobody took it up again."""
        return self._store.stat(f"experiments/{number}/cancelled") is not None

    def cancel(self, number: str) -> None:
        """Stop working on it; what is finished stays."""
        self._store.put(f"experiments/{number}/cancelled", now().encode())

    def retry(self, experiment: Experiment, leases: Leases) -> None:
        """Take it up again: not cancelled, and its failed stages are tried once more."""
        self._store.delete(f"experiments/{experiment.id}/cancelled")
        done, failed = self.survey.look([experiment.outline])
        for key in experiment.outline.keys - done:
            leases.clear_stop(key)
        for key in failed:
            self._book.forgive(key)
        self.survey.hint(failed)

    def delete(self, experiment: Experiment, leases: Leases) -> None:
        """Forget an experiment; artifacts stay until they are collected.

        What runs for it and for no other experiment is asked to leave.
        """
        live = set(leases.live(experiment.outline.keys))
        for one, card in self.cards() if live else []:
            if one.id != experiment.id and not one.cancelled:
                live -= card.outline.keys
        for key in live:
            leases.ask_to_stop(key)
        # The spec first: the other way round a cancelled experiment would run again for a moment.
        self._store.delete(f"experiments/{experiment.id}/experiment.json")
        self._store.delete(f"experiments/{experiment.id}/cancelled")

    def manifest(self, key: str) -> Manifest:
        """The manifest of a stage that is done, NotFoundError if it is not. Manifests never
        change, so they are kept.
        """
        return self._manifests(key)

    def _read_manifest(self, key: str) -> Manifest:
        manifest = self._artifacts.manifest(key)
        if manifest is None:
            raise NotFoundError(key)
        return manifest

    def front(self, outlines: Sequence[Outline]) -> set[str]:
        """Keys of the stages that could run now, as far as is known without a look-up."""
        return _front(outlines, self.survey.known)

    def world(self, outlines: Sequence[Outline], leases: Leases) -> World:
        """What exists of these plans' stages. Leases are read before the store: a stage that ends
        in between is seen as done, never as waiting.
        """
        front = self.front(outlines)
        live = leases.live(front)
        with self._lock:
            ended = {key for key in self._live if key not in live} & front
            self._live = (self._live - front) | live.keys()
        self.survey.hint(ended)
        done, failed = self.survey.look(outlines)
        live |= leases.live(_front(outlines, done) - front)  # what became ready in the meantime
        return World(done=done, failed=failed, live=live.keys() - done - failed)

    def standing(self, experiment: Experiment | Card, leases: Leases) -> Standing:
        """State of the experiment and of every stage, with the progress of those that run."""
        world = self.world([experiment.outline], leases)
        states = stage_states(experiment.outline, world, self.cancelled(experiment.id))
        return Standing(experiment_state(states), states, leases.progress(world.live))

    def standings(self, cards: Sequence[Listed], leases: Leases) -> list[Standing]:
        """Where several experiments stand, without the progress of their stages."""
        outlines = [self.card(one.id, one.modified).outline for one in cards]
        world = self.world(outlines, leases)
        found = []
        for one, outline in zip(cards, outlines, strict=True):
            states = stage_states(outline, world, one.cancelled)
            found.append(Standing(experiment_state(states), states, {}))
        return found


def _front(outlines: Sequence[Outline], done: Collection[str]) -> set[str]:
    """Keys of the stages that could run now: nothing else can hold a lease."""
    return {node.key for one in outlines for node in one.frontier(done)}
