"""An experiment as a stream of events, from what a client has seen until it ends.

The states are looked at every LOOK seconds; what differs from what the client has seen becomes
events. The last event of a look carries an id that stands for everything sent so far, so a client
that was cut off in between gets the whole look again: each event at least once, and in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent
from pydantic import BaseModel
from redis.exceptions import RedisError

from api.backend import Backend
from api.experiments.describe import ENDED, ExperimentView, view_experiment
from api.experiments.seen import decode_seen, encode_seen
from shared.experiments.experiments import Experiment
from shared.experiments.states import StageState
from shared.plan import PlannedStage
from shared.store import NotFoundError, StoreError

LOOK = 0.5  # seconds between two looks


class StageEvent(BaseModel):
    """A stage whose state differs from the one that the client has seen."""

    key: str
    title: str
    kind: str
    state: StageState
    reason: str | None = None
    seconds: float | None = None
    peak_memory_bytes: int | None = None


@dataclass(frozen=True)
class Look:
    """An experiment at one moment: its states in the order of the plan."""

    view: ExperimentView
    states: list[StageState]
    progress: dict[str, dict[str, Any]]
    changed: list[StageEvent]


class Follower:
    """The events of one experiment for one client. `seen` is the id of the last event that it
    received (api.experiments.seen), None for a client that has seen nothing.
    """

    def __init__(self, backend: Backend, experiment: Experiment, seen: str | None) -> None:
        self._backend = backend
        self._experiment = experiment
        self._seen = decode_seen(seen, len(experiment.plan.stages)) if seen else None
        self._progress: dict[str, dict[str, Any]] = {}
        self._begun = False

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Events until the experiment has ended or was deleted."""
        while True:
            try:
                look = await run_in_threadpool(self._look)
            except NotFoundError:
                return
            except (RedisError, StoreError, OSError):
                look = None  # store and Redis come back; the client keeps what it has seen
            for event in self._events_of(look) if look else ():
                yield event
            if look is not None and look.view.state in ENDED:
                return
            await asyncio.sleep(LOOK)

    def _look(self) -> Look:
        """The experiment now; NotFoundError when it was deleted."""
        card = self._backend.experiments.card(self._experiment.id)
        standing = self._backend.experiments.standing(card, self._backend.leases)
        stages = self._experiment.plan.stages
        states = [standing.stages[stage.key] for stage in stages]
        before: Sequence[StageState | None] = self._seen or [None] * len(states)
        changed = [
            self._stage_event(stage, state)
            for stage, state, old in zip(stages, states, before, strict=True)
            if state is not old
        ]
        return Look(view_experiment(card, standing), states, standing.progress, changed)

    def _stage_event(self, stage: PlannedStage, state: StageState) -> StageEvent:
        event = StageEvent(key=stage.key, title=stage.title, kind=stage.kind, state=state)
        if state is StageState.FAILED:
            failure = self._backend.book.failure(stage.key)
            return event.model_copy(update={"reason": failure.reason if failure else None})
        if state is StageState.DONE:
            manifest = self._backend.experiments.manifest(stage.key)
            figures = manifest.model_dump(include={"seconds", "peak_memory_bytes"})
            return event.model_copy(update=figures)
        return event

    def _events_of(self, look: Look) -> list[ServerSentEvent]:
        """The events of a look, which from now on counts as seen by the client."""
        events = [ServerSentEvent(event="stage", data=stage) for stage in look.changed]
        if look.changed or not self._begun:
            word = encode_seen(look.states)
            events.append(ServerSentEvent(event="experiment", data=look.view, id=word))
        if look.progress != self._progress:
            events.append(ServerSentEvent(event="progress", data=look.progress))
        self._seen, self._progress, self._begun = look.states, look.progress, True
        return events
