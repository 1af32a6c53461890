"""The protocol of store, leases and reconciler against any order of events that Hypothesis finds.

Workers are modelled step by step, in the order of effects that shared.worker has; the store, the
leases and every decision are the real ones.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from shared.experiments.decide import Watched, decide
from shared.experiments.states import Node, Outline, World
from shared.experiments.survey import Survey
from shared.queue.leases import Leases
from shared.records.artifacts import Artifacts, Manifest, StoredFile, files_prefix
from shared.store import LocalStore

WORKERS = ("one", "two", "three")
STEPS = ("uploaded", "committed", "released")


@dataclass
class Attempt:
    """What a worker does at this moment: the stage, its own name for it, and how far it is."""

    key: str
    name: str
    step: int = 0


class Protocol(RuleBasedStateMachine):
    """A plan, three workers, a queue that loses and doubles messages, and leases that run out."""

    def __init__(self, redis: Redis) -> None:
        super().__init__()
        redis.flushall()
        self.redis = redis
        self.folder = tempfile.TemporaryDirectory()
        self.store = LocalStore(Path(self.folder.name))
        self.artifacts = Artifacts(self.store)
        self.leases = Leases(redis, 1000)
        self.survey = Survey(self.store)
        self.queue: list[str] = []
        self.attempts: dict[str, Attempt] = {}
        self.winners: dict[str, str] = {}
        self.number = 0
        self.outline = Outline(())

    @initialize(shape=st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=1, max_size=6))
    def plan(self, shape: list[list[int]]) -> None:
        nodes = [
            Node(f"s{at}", "any", tuple(sorted({f"s{one % at}" for one in before})) if at else ())
            for at, before in enumerate(shape)
        ]
        self.outline = Outline(tuple(nodes))

    # -------------------------------------------------------------------- what goes on

    @rule()
    def reconcile(self) -> None:
        done, failed = self.survey.look([self.outline])
        live = self.leases.live(self.outline.keys)
        world = World(done=done, failed=failed, live=live.keys() - done)
        decision = decide([Watched(self.outline, False)], world, {"any": self.queue}, (), room=3)
        self.queue += [bell.key for bell in decision.ring]

    @precondition(lambda self: self.queue)
    @rule(worker=st.sampled_from(WORKERS))
    def take(self, worker: str) -> None:
        if worker in self.attempts:
            return
        key = self.queue.pop(0)
        node = next(node for node in self.outline.nodes if node.key == key)
        if self.artifacts.exists(key) or not all(map(self.artifacts.exists, node.inputs)):
            return
        self.number += 1
        name = f"attempt{self.number}"
        if self.leases.acquire(key, name) and not self.artifacts.exists(key):
            self.attempts[worker] = Attempt(key, name)

    @rule(worker=st.sampled_from(WORKERS))
    def go_on(self, worker: str) -> None:
        attempt = self.attempts.get(worker)
        if attempt is None:
            return
        step = STEPS[attempt.step]
        if step == "uploaded":
            file = f"{files_prefix(attempt.key, attempt.name)}/result"
            self.store.put(file, attempt.name.encode())
        elif step == "committed":
            won = self.artifacts.commit(manifest(attempt))
            if won:
                assert attempt.key not in self.winners, "two attempts were told that they won"
                self.winners[attempt.key] = attempt.name
        else:
            self.leases.release(attempt.key, attempt.name)
            del self.attempts[worker]
            return
        attempt.step += 1

    @rule(worker=st.sampled_from(WORKERS))
    def beat(self, worker: str) -> None:
        attempt = self.attempts.get(worker)
        if attempt is not None and not self.leases.renew(attempt.key, attempt.name, {}):
            del self.attempts[worker]

    # -------------------------------------------------------------------- what goes wrong

    @rule(worker=st.sampled_from(WORKERS))
    def kill(self, worker: str) -> None:
        self.attempts.pop(worker, None)

    @rule(data=st.data())
    def let_a_lease_run_out(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.outline.keys)))
        self.redis.delete(f"lineament:lease:{key}")

    @rule()
    def flush_redis(self) -> None:
        self.redis.flushall()
        self.queue.clear()

    @precondition(lambda self: self.queue)
    @rule(data=st.data())
    def lose_or_double_a_message(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.queue) - 1))
        if data.draw(st.booleans()):
            self.queue.pop(at)
        else:
            self.queue += [self.queue[at]] * 2

    @rule()
    def start_another_reconciler(self) -> None:
        self.survey = Survey(self.store)

    # -------------------------------------------------------------------- what always holds

    @invariant()
    def a_manifest_is_never_replaced_and_its_files_are_whole(self) -> None:
        for key, winner in self.winners.items():
            found = self.artifacts.manifest(key)
            assert found is not None
            assert found.attempt == winner
            assert self.store.get(self.artifacts.object_name(found, "result")) == winner.encode()

    @invariant()
    def nothing_is_there_before_its_inputs(self) -> None:
        for node in self.outline.nodes:
            if node.key in self.winners:
                assert all(key in self.winners for key in node.inputs)

    def teardown(self) -> None:
        """Once nothing goes wrong any more, everything is finished."""
        for _ in range(10 * (len(self.outline.nodes) + 1)):
            busy = {attempt.key for attempt in self.attempts.values()}
            for key in self.outline.keys - busy:
                self.redis.delete(f"lineament:lease:{key}")  # of those that were killed
            self.reconcile()
            for worker in WORKERS:
                if self.queue:
                    self.take(worker)
                while worker in self.attempts:
                    self.go_on(worker)
        assert self.winners.keys() == self.outline.keys
        self.folder.cleanup()


def manifest(attempt: Attempt) -> Manifest:
    fields: dict[str, Any] = dict.fromkeys(("started", "finished", "host", "log"), "")
    return Manifest(
        key=attempt.key, kind="any", version=1, parameters={}, inputs={},
        files={"result": StoredFile(bytes=1, sha256="")}, results={}, attempt=attempt.name,
        seconds=0, cpu_seconds=0, peak_memory_bytes=0, hardware={}, libraries={}, **fields,
    )  # fmt: skip


def test_no_order_of_events_loses_or_doubles_a_result(redis: Redis) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Protocol(redis),
        settings=settings(
            max_examples=60,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
