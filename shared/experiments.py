"""Experiments in the store: the spec, the plan, and whether somebody cancelled it.

Everything else about an experiment is derived: see shared.reconcile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.artifacts import Artifacts, Manifest
from shared.attempts import AttemptBook, now
from shared.lease import Leases
from shared.plan import Plan
from shared.reconcile import (
    ExperimentState,
    StageState,
    Watched,
    World,
    experiment_state,
    stage_states,
)
from shared.store import NotFoundError, Store


class Experiment(BaseModel):
    """An experiment as it was submitted; `owner` is the name of the API key ("" without keys)."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    owner: str = ""
    submitted: str
    spec: dict[str, Any]
    plan: Plan


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
    """Reading and changing experiments."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._artifacts = Artifacts(store)
        self._book = AttemptBook(store)
        self._done: set[str] = set()  # manifests never go while a process watches them
        self._manifests: dict[str, Manifest] = {}

    def submit(self, name: str, spec: dict[str, Any], plan: Plan, owner: str = "") -> Experiment:
        """Store an experiment, its stages first; submitting it again returns the one that is."""
        number = experiment_id(name, spec)
        experiment = Experiment(
            id=number, name=name, owner=owner, submitted=now(), spec=spec, plan=plan
        )
        for stage in plan.stages:
            self._store.create(f"stages/{stage.key}/stage.json", stage.model_dump_json().encode())
        data = experiment.model_dump_json().encode()
        if not self._store.create(f"experiments/{number}/experiment.json", data):
            return self.get(number)
        return experiment

    def get(self, number: str) -> Experiment:
        """The experiment of that id; NotFoundError if there is none."""
        try:
            data = self._store.get(f"experiments/{number}/experiment.json")
        except ValueError:
            raise NotFoundError(number) from None
        return Experiment.model_validate_json(data)

    def ids(self) -> list[str]:
        """Ids of all experiments, newest first."""
        found = [
            (info.modified, info.name.split("/")[1])
            for info in self._store.list("experiments/")
            if info.name.endswith("/experiment.json")
        ]
        return [number for _, number in sorted(found, reverse=True)]

    def cancelled(self, number: str) -> bool:
        """True when somebody cancelled the experiment and nobody took it up again."""
        return self._store.stat(f"experiments/{number}/cancelled") is not None

    def cancel(self, number: str) -> None:
        """Stop working on it; what is finished stays."""
        self._store.put(f"experiments/{number}/cancelled", now().encode())

    def retry(self, experiment: Experiment, leases: Leases) -> None:
        """Take it up again: not cancelled, and its failed stages are tried once more."""
        self._store.delete(f"experiments/{experiment.id}/cancelled")
        for stage in experiment.plan.stages:
            leases.clear_stop(stage.key)
            if self._book.failed(stage.key):
                self._book.forgive(stage.key)

    def delete(self, experiment: Experiment, leases: Leases) -> None:
        """Forget an experiment; artifacts stay until they are collected.

        What runs for it and for no other experiment is asked to leave.
        """
        keys = {stage.key for stage in experiment.plan.stages}
        live = set(leases.live(keys))
        for number in self.ids() if live else []:
            if number != experiment.id and not self.cancelled(number):
                live -= {stage.key for stage in self.get(number).plan.stages}
        for key in live:
            leases.ask_to_stop(key)
        # The spec first: the other way round a cancelled experiment would run again for a moment.
        self._store.delete(f"experiments/{experiment.id}/experiment.json")
        self._store.delete(f"experiments/{experiment.id}/cancelled")

    def watched(self, number: str, experiment: Experiment) -> Watched:
        """The experiment as the reconciler sees it."""
        return Watched(experiment.plan, self.cancelled(number))

    def manifest(self, key: str) -> Manifest:
        """The manifest of a stage that is done; kept, since manifests never change."""
        if key not in self._manifests:
            manifest = self._artifacts.manifest(key)
            if manifest is None:
                raise NotFoundError(key)
            self._manifests[key] = manifest
        return self._manifests[key]

    def world(self, keys: Iterable[str], leases: Leases) -> World:
        """What exists of these stages. Leases are read first: a stage that ends in between is
        seen as done, never as waiting.
        """
        wanted = list(dict.fromkeys(keys))
        live = leases.live(wanted)
        self._done |= {
            key for key in wanted if key not in self._done and self._artifacts.exists(key)
        }
        done = self._done.intersection(wanted)
        failed = {key for key in wanted if key not in done and self._book.failed(key)}
        return World(done=done, failed=failed, live=live.keys() - done)

    def standing(self, experiment: Experiment, leases: Leases) -> Standing:
        """State of the experiment and of every stage, with the progress of those that run."""
        keys = [stage.key for stage in experiment.plan.stages]
        world = self.world(keys, leases)
        states = stage_states(experiment.plan, world, self.cancelled(experiment.id))
        return Standing(experiment_state(states), states, leases.progress(world.live))
