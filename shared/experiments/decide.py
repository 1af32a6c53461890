"""What should happen next: a pure comparison of plans with what is there.

The reconciler feeds this with what it reads from store and Redis and carries the answer out.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from shared.experiments.states import Node, Outline, World


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


def decide(
    watched: Iterable[Watched],
    world: World,
    queued: Mapping[str, Collection[str]],
    rung: Collection[str],
    room: int,
) -> Decision:
    """Which doorbells are due, fairly, and which leased stages to stop.

    `watched` is oldest first. `queued` are the keys whose messages wait in a service's queue,
    `rung` are those rung a moment ago; a queue gets no more than `room` messages, so that what
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
    busy = {key for keys in queued.values() for key in keys} | set(rung) | live
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
