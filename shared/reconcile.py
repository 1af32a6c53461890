"""What should happen next: a pure comparison of plans with what is there.

The reconciler feeds this with what it reads from store and Redis and carries the answer out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.plan import Plan


class StageState(StrEnum):
    """State of a stage within an experiment."""

    DONE = "done"
    FAILED = "failed"
    RUNNING = "running"
    READY = "ready"  # every input is there; it waits for a worker
    WAITING = "waiting"  # for inputs
    BLOCKED = "blocked"  # an input can never come, because a stage before it failed
    CANCELLED = "cancelled"


class ExperimentState(StrEnum):
    """State of an experiment, derived from the states of its stages."""

    COMPLETE = "complete"
    FAILED = "failed"
    RUNNING = "running"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class World:
    """What exists: keys of finished, failed and leased stages."""

    done: Collection[str]
    failed: Collection[str]
    live: Collection[str]


@dataclass(frozen=True)
class Watched:
    """One experiment to look after."""

    plan: Plan
    cancelled: bool


@dataclass(frozen=True)
class Doorbell:
    """A stage that a worker of this service could run now."""

    service: str
    key: str


@dataclass(frozen=True)
class Decision:
    """Doorbells to ring and running stages that nobody wants any more."""

    ring: tuple[Doorbell, ...]
    stop: tuple[str, ...]


def stage_states(plan: Plan, world: World, cancelled: bool = False) -> dict[str, StageState]:
    """The state of every stage of a plan, by key. Plans list stages inputs first."""
    states: dict[str, StageState] = {}
    for stage in plan.stages:
        before = [states[key] for key in stage.inputs.values()]
        if stage.key in world.done:
            state = StageState.DONE
        elif stage.key in world.failed:
            state = StageState.FAILED
        elif cancelled:
            state = StageState.CANCELLED
        elif stage.key in world.live:
            state = StageState.RUNNING
        elif any(one in (StageState.FAILED, StageState.BLOCKED) for one in before):
            state = StageState.BLOCKED
        elif all(one is StageState.DONE for one in before):
            state = StageState.READY
        else:
            state = StageState.WAITING
        states[stage.key] = state
    return states


def experiment_state(states: Mapping[str, StageState]) -> ExperimentState:
    """Complete when everything is done; failed only once nothing else can go on."""
    found = set(states.values())
    if found <= {StageState.DONE}:
        return ExperimentState.COMPLETE
    if StageState.CANCELLED in found:
        return ExperimentState.CANCELLED
    if found & {StageState.RUNNING, StageState.READY}:
        return ExperimentState.RUNNING
    return ExperimentState.FAILED


def decide(watched: Iterable[Watched], world: World) -> Decision:
    """Which doorbells are due, and which leased stages to stop.

    A stage of several experiments is stopped only when all of them are cancelled.
    """
    ring: dict[str, Doorbell] = {}
    wanted: set[str] = set()
    running: set[str] = set()
    for experiment in watched:
        keys = {stage.key for stage in experiment.plan.stages}
        running |= keys & set(world.live)
        if experiment.cancelled:
            continue
        wanted |= keys
        states = stage_states(experiment.plan, world)
        for stage in experiment.plan.stages:
            if states[stage.key] is StageState.READY:
                ring.setdefault(stage.key, Doorbell(stage.service, stage.key))
    return Decision(tuple(ring.values()), tuple(sorted(running - wanted)))
