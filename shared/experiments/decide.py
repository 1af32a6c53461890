"""What should happen next: a pure comparison of plans with what is there.

The reconciler feeds this with what it reads from store and Redis and carries the answer out.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Watched:
    """One experiment to look after; `owner` is whose share of the workers it uses."""

    outline: Outline
    cancelled: bool
    owner: str = ""


@dataclass(frozen=True)
class Doorbell:
    """A stage that a worker of this service could run now."""

    service: str
    key: str


@dataclass(frozen=True)
class Decision:
    """Doorbells to ring and running stages that nobody wants any more.

    `waiting` and `leased` are services by key: of the stages that could run, those that wait for a
    worker and those that one holds the lease of.
    """

    ring: tuple[Doorbell, ...]
    stop: tuple[str, ...]
    waiting: Mapping[str, str] = field(default_factory=dict, compare=False)
    leased: Mapping[str, str] = field(default_factory=dict, compare=False)


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


def decide(
    watched: Iterable[Watched],
    world: World,
    queued: Mapping[str, Collection[str]],
    told: Collection[str],
    room: int,
) -> Decision:
    """Which doorbells are due, fairly, and which leased stages to stop.

    `watched` is oldest first. `queued` are the keys whose messages wait in a service's queue,
    `told` keys that were rung a moment ago; a queue gets no more than `room` messages, so that what
    comes later is chosen later. A stage of several experiments is stopped only when all of them are
    cancelled.
    """
    live, wanted = set(world.live), set[str]()
    running: set[str] = set()
    going: list[tuple[Watched, list[Node]]] = []
    for experiment in watched:
        running |= experiment.outline.keys & live
        if experiment.cancelled:
            continue
        wanted |= experiment.outline.keys
        ready = [
            node for node in experiment.outline.frontier(world.done) if node.key not in world.failed
        ]
        going.append((experiment, ready))
    busy = {key for keys in queued.values() for key in keys} | set(told) | live
    ring: list[Doorbell] = []
    for service in sorted({node.service for _, ready in going for node in ready}):
        free = room - len(queued.get(service, ()))
        ring += _fair(service, going, busy, free) if free > 0 else []
    ready_now = {node.key: node.service for _, ready in going for node in ready}
    return Decision(
        tuple(ring),
        tuple(sorted(running - wanted)),
        waiting={key: service for key, service in ready_now.items() if key not in live},
        leased={key: service for key, service in ready_now.items() if key in live},
    )


def _fair(
    service: str, going: list[tuple[Watched, list[Node]]], busy: Collection[str], free: int
) -> list[Doorbell]:
    """At most `free` doorbells: the owner that uses least comes first, then the experiment that
    uses least, then the oldest. What runs or waits in the queue counts as used.
    """
    of_owner: Counter[str] = Counter()
    lines: list[tuple[int, int, str, list[str]]] = []  # used, age, owner, keys (next one last)
    for age, (experiment, ready) in enumerate(going):
        keys = [node.key for node in ready if node.service == service]
        used = sum(key in busy for key in keys)
        of_owner[experiment.owner] += used
        open_ = [key for key in reversed(keys) if key not in busy]
        if open_:
            lines.append((used, age, experiment.owner, open_))
    queues: dict[str, list[tuple[int, int, str, list[str]]]] = {}
    for line in lines:
        queues.setdefault(line[2], []).append(line)
    owners = []
    for owner, queue in queues.items():
        heapq.heapify(queue)
        owners.append((of_owner[owner], queue[0][1], owner))
    heapq.heapify(owners)
    chosen: dict[str, Doorbell] = {}
    while owners and len(chosen) < free:
        used_by_owner, _, owner = heapq.heappop(owners)
        queue = queues[owner]
        used, age, _, keys = heapq.heappop(queue)
        key = keys.pop()
        chosen.setdefault(key, Doorbell(service, key))
        if keys:
            heapq.heappush(queue, (used + 1, age, owner, keys))
        if queue:
            heapq.heappush(owners, (used_by_owner + 1, queue[0][1], owner))
    return list(chosen.values())
