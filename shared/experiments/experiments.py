"""Experiments in the store: the spec, the plan, and whether the experiment was cancelled.

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

FRESH = 0.5  # seconds for which readers assume that a stage still has not ended
CACHED_EXPERIMENTS = 32  # with their plans, of about half a megabyte each
CACHED_CARDS = 20_000
CACHED_MANIFESTS = 2_000


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
        """Its stages in order, without their parameters."""
        return Outline.of(self.plan)


@dataclass(frozen=True)
class Card:
    """An experiment without spec and parameters, for lists and the reconciler.

    `report` is the key of the stage that writes the report, `uploads` has the digests of the
    uploads that its stages read.
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
    """An experiment in a listing of the store; `modified` changes when it is submitted anew."""

    id: str
    modified: float
    cancelled: bool


@dataclass(frozen=True)
class Standing:
    """State and progress of an experiment at one moment."""

    state: ExperimentState
    stages: dict[str, StageState]
    progress: dict[str, dict[str, Any]]


def experiment_id(name: str, spec: dict[str, Any]) -> str:
    """The id of a resolved spec: the same text and the same data are the same experiment."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


class Experiments:
    """Reads and changes experiments, with caches of limited size for what never changes."""

    def __init__(self, store: Store, fresh: float = FRESH) -> None:
        self._store = store
        self._artifacts = Artifacts(store)
        self._book = AttemptBook(store)
        self.survey = Survey(store, fresh)
        self._lock = threading.Lock()
        self._live: set[str] = set()  # leased when last seen
        self._experiments = lru_cache(CACHED_EXPERIMENTS)(self._read)
        self._cards = lru_cache(CACHED_CARDS)(self._read_card)
        self._manifests = lru_cache(CACHED_MANIFESTS)(self._read_manifest)

    def submit(self, name: str, spec: dict[str, Any], plan: Plan, owner: str = "") -> Experiment:
        """Store an experiment, its stages first; returns the stored one if it exists already."""
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
        """Store the descriptions of an experiment's stages again, where they are missing."""
        self._describe(self.get(number).plan)

    def _describe(self, plan: Plan) -> None:
        for stage in plan.stages:
            self._store.create(f"stages/{stage.key}/stage.json", stage.model_dump_json().encode())

    def get(self, number: str) -> Experiment:
        """The experiment of that id.

        Raises NotFoundError if there is none, OtherReleaseError if a newer release wrote it in a
        form that this one cannot read.
        """
        return self._experiments(number, self._modified(number))

    def card(self, number: str, modified: float | None = None) -> Card:
        """The short form of an experiment; errors as for `get`.

        `modified`, if a listing gave it, saves a look-up.
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
        """The card, or why there is none: the cache keeps that too, lest it be read every time."""
        try:
            return Card.of(self._read(number, modified))
        except OtherReleaseError as error:
            return str(error)

    def listed(self) -> list[Listed]:
        """All experiments, oldest first."""
        infos = {info.name: info.modified for info in self._store.list("experiments/")}
        experiments = [
            Listed(number, modified, f"experiments/{number}/cancelled" in infos)
            for name, modified in infos.items()
            for _, number, file in [name.split("/")]
            if file == "experiment.json"
        ]
        return sorted(experiments, key=lambda listed: (listed.modified, listed.id))

    def cards(self) -> list[tuple[Listed, Card]]:
        """All experiments, oldest first, except those that are just being deleted or that this
        release cannot read.
        """
        cards = []
        for listed in self.listed():
            with contextlib.suppress(NotFoundError, OtherReleaseError):
                cards.append((listed, self.card(listed.id, listed.modified)))
        return cards

    def cancelled(self, number: str) -> bool:
        """True when the experiment was cancelled and not taken up again."""
        return self._store.stat(f"experiments/{number}/cancelled") is not None

    def cancel(self, number: str) -> None:
        """Stop working on an experiment; finished stages stay."""
        self._store.put(f"experiments/{number}/cancelled", now().encode())

    def retry(self, experiment: Experiment, leases: Leases) -> None:
        """Take an experiment up again: lift its cancellation and let failed stages be retried."""
        self._store.delete(f"experiments/{experiment.id}/cancelled")
        done, failed = self.survey.look([experiment.outline])
        for key in experiment.outline.keys - done:
            leases.clear_stop(key)
        for key in failed:
            self._book.forgive(key)
        self.survey.hint(failed)

    def delete(self, experiment: Experiment, leases: Leases) -> None:
        """Delete an experiment; its artifacts stay until they are collected.

        Stages that run for it and for no other experiment are asked to stop.
        """
        live = set(leases.live(experiment.outline.keys))
        for listed, card in self.cards() if live else []:
            if listed.id != experiment.id and not listed.cancelled:
                live -= card.outline.keys
        for key in live:
            leases.ask_to_stop(key)
        # The spec first: the other way round a cancelled experiment would run again for a moment.
        self._store.delete(f"experiments/{experiment.id}/experiment.json")
        self._store.delete(f"experiments/{experiment.id}/cancelled")

    def manifest(self, key: str) -> Manifest:
        """The manifest of a finished stage; NotFoundError if it is not finished.

        Manifests never change, so they are cached.
        """
        return self._manifests(key)

    def _read_manifest(self, key: str) -> Manifest:
        manifest = self._artifacts.manifest(key)
        if manifest is None:
            raise NotFoundError(key)
        return manifest

    def front(self, outlines: Sequence[Outline]) -> set[str]:
        """Keys of the stages that could run now, as far as that is known without a look-up."""
        return _front(outlines, self.survey.known_done)

    def world(self, outlines: Sequence[Outline], leases: Leases) -> World:
        """Which of these plans' stages are done, failed or leased.

        Leases are read before the store: a stage that ends in between is seen as done, never as
        waiting.
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
        """State of the experiment and of every stage, and the progress of those that run."""
        world = self.world([experiment.outline], leases)
        states = stage_states(experiment.outline, world, self.cancelled(experiment.id))
        return Standing(experiment_state(states), states, leases.progress(world.live))

    def standings(self, cards: Sequence[Listed], leases: Leases) -> list[Standing]:
        """The standing of several experiments, without the progress of their stages."""
        outlines = [self.card(listed.id, listed.modified).outline for listed in cards]
        world = self.world(outlines, leases)
        standings = []
        for listed, outline in zip(cards, outlines, strict=True):
            states = stage_states(outline, world, listed.cancelled)
            standings.append(Standing(experiment_state(states), states, {}))
        return standings


def _front(outlines: Sequence[Outline], done: Collection[str]) -> set[str]:
    """Keys of the stages that could run now: nothing else can hold a lease."""
    return {node.key for outline in outlines for node in outline.frontier(done)}
