"""The state of every stage and of an experiment, derived from a plan and what exists. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

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


@dataclass(frozen=True, slots=True)
class Node:
    """A stage as far as the order of work goes: who computes it, and the keys it waits for."""

    key: str
    service: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Outline:
    """A plan without its parameters: small enough to keep thousands. Inputs come first."""

    nodes: tuple[Node, ...]

    @staticmethod
    def of(plan: Plan) -> Outline:
        """The outline of a plan."""
        return Outline(
            tuple(
                Node(stage.key, stage.service, tuple(stage.inputs.values()))
                for stage in plan.stages
            )
        )

    @cached_property
    def keys(self) -> frozenset[str]:
        """Keys of all stages."""
        return frozenset(node.key for node in self.nodes)

    @cached_property
    def last(self) -> tuple[str, ...]:
        """Keys of the stages that no other stage needs."""
        needed = {key for node in self.nodes for key in node.inputs}
        return tuple(node.key for node in self.nodes if node.key not in needed)

    def frontier(self, done: Collection[str]) -> Iterator[Node]:
        """Stages that are not done and whose inputs all are: only these can run or fail."""
        held = done if isinstance(done, set) else set(done)
        for node in self.nodes:
            if node.key not in held and held.issuperset(node.inputs):
                yield node


@dataclass(frozen=True)
class World:
    """What exists: keys of finished, failed and leased stages."""

    done: Collection[str]
    failed: Collection[str]
    live: Collection[str]


def stage_states(outline: Outline, world: World, cancelled: bool = False) -> dict[str, StageState]:
    """The state of every stage of a plan, by key."""
    states: dict[str, StageState] = {}
    for node in outline.nodes:
        if node.key in world.done:
            state = StageState.DONE
        elif node.key in world.failed:
            state = StageState.FAILED
        elif cancelled:
            state = StageState.CANCELLED
        elif node.key in world.live:
            state = StageState.RUNNING
        else:
            state = _waiting(node, states)
        states[node.key] = state
    return states


def _waiting(node: Node, states: Mapping[str, StageState]) -> StageState:
    """The state of a stage that is neither there nor under way: its inputs decide."""
    state = StageState.READY
    for key in node.inputs:
        before = states[key]
        if before is StageState.FAILED or before is StageState.BLOCKED:
            return StageState.BLOCKED
        if before is not StageState.DONE:
            state = StageState.WAITING
    return state


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
