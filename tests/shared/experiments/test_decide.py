"""The reconciler's decisions, on plans small enough to see."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from shared.experiments.decide import Watched, decide
from shared.experiments.states import (
    ExperimentState,
    Outline,
    StageState,
    World,
    experiment_state,
    stage_states,
)
from shared.plan import Plan, PlannedStage


def stage(key: str, *inputs: str) -> PlannedStage:
    return PlannedStage(
        key=key, kind="add", service="trainer", version=1, parameters={}, title=key,
        inputs={f"part/{number}": name for number, name in enumerate(inputs)},
    )  # fmt: skip


#     a -> b -> d      e stands alone
#     a -> c -> d
DIAMOND_PLAN = Plan(
    name="diamond",
    stages=(stage("a"), stage("b", "a"), stage("c", "a"), stage("d", "b", "c"), stage("e")),
)


DIAMOND = Outline.of(DIAMOND_PLAN)


def world(done: str = "", failed: str = "", live: str = "") -> World:
    return World(done=set(done), failed=set(failed), live=set(live))


def rung(experiments: list[Watched], now: World) -> str:
    return "".join(bell.key for bell in decide(experiments, now, {}, (), room=16).ring)


def test_stages_without_missing_inputs_are_rung() -> None:
    watched = [Watched(DIAMOND, cancelled=False)]
    assert rung(watched, world()) == "ae"
    assert rung(watched, world(done="a")) == "bce"
    assert rung(watched, world(done="abce")) == "d"


def test_running_failed_and_finished_stages_are_not_rung() -> None:
    watched = [Watched(DIAMOND, cancelled=False)]
    assert rung(watched, world(done="a", live="b", failed="c")) == "e"
    assert rung(watched, world(done="abcde")) == ""


def test_a_failure_blocks_what_needs_it_and_nothing_else() -> None:
    states = stage_states(DIAMOND, world(done="a", failed="b"))
    assert states["d"] is StageState.BLOCKED
    assert states["c"] is StageState.READY
    assert experiment_state(states) is ExperimentState.RUNNING
    states = stage_states(DIAMOND, world(done="ace", failed="b"))
    assert experiment_state(states) is ExperimentState.FAILED


def test_a_shared_stage_is_rung_once_and_stopped_only_when_nobody_wants_it() -> None:
    going, gone = Watched(DIAMOND, cancelled=False), Watched(DIAMOND, cancelled=True)
    assert rung([going, going], world()) == "ae"
    assert decide([gone, going], world(live="a"), {}, (), 16).stop == ()
    assert decide([gone, gone], world(live="a"), {}, (), 16).stop == ("a",)
    assert rung([gone], world()) == ""


def test_a_complete_experiment_stays_complete_when_it_is_cancelled_afterwards() -> None:
    states = stage_states(DIAMOND, world(done="abcde"), cancelled=True)
    assert experiment_state(states) is ExperimentState.COMPLETE


@given(st.permutations("abcde"), st.data())
def test_working_off_doorbells_in_any_order_completes_every_plan(
    order: str, data: st.DataObject
) -> None:
    done: set[str] = set()
    for _ in range(20):
        ready = rung([Watched(DIAMOND, cancelled=False)], World(done, (), ()))
        if not ready:
            break
        done.add(data.draw(st.sampled_from(sorted(ready, key=list(order).index))))
    assert done == set("abcde")


def wide(name: str, stages: int) -> Outline:
    """A plan of many stages that could all run now."""
    return Outline.of(
        Plan(name=name, stages=tuple(stage(f"{name}{number}") for number in range(stages)))
    )


def test_a_queue_gets_no_more_messages_than_there_is_room() -> None:
    watched = [Watched(wide("a", 100), cancelled=False)]
    decision = decide(watched, world(), {"trainer": ["a0", "a1", "a2"]}, (), room=5)
    assert [bell.key for bell in decision.ring] == ["a3", "a4"]
    full = {"trainer": [f"a{number}" for number in range(5)]}
    assert decide(watched, world(), full, (), room=5).ring == ()


def test_a_large_experiment_does_not_starve_the_one_that_comes_after_it() -> None:
    watched = [Watched(wide("a", 1000), cancelled=False), Watched(wide("b", 3), cancelled=False)]
    first = decide(watched, world(), {}, (), room=4)
    assert [bell.key for bell in first.ring] == ["a0", "b0", "a1", "b1"]
    running = World(done=(), failed=(), live={"a0", "a1", "a2", "a3"})
    then = decide(watched, running, {}, (), room=3)
    assert [bell.key for bell in then.ring] == ["b0", "b1", "b2"]


def test_an_owner_with_many_experiments_gets_no_more_than_one_with_a_single_one() -> None:
    crowd = [Watched(wide(f"a{n}-", 5), cancelled=False, owner="crowd") for n in range(50)]
    single = Watched(wide("b", 5), cancelled=False, owner="single")
    ring = [bell.key for bell in decide([*crowd, single], world(), {}, (), room=6).ring]
    assert sum(key.startswith("b") for key in ring) == 3


def test_what_was_rung_a_moment_ago_is_not_rung_again() -> None:
    watched = [Watched(DIAMOND, cancelled=False)]
    assert (
        decide(watched, world(), {}, {"a"}, 16).ring
        == decide(watched, world(), {"trainer": ["a"]}, (), 16).ring
    )


@given(st.integers(1, 6), st.integers(1, 12), st.integers(1, 20), st.randoms())
def test_rung_stages_are_always_ready_distinct_and_as_many_as_fit(
    experiments: int, stages: int, room: int, random: Random
) -> None:
    outlines = [wide(f"e{number}-", stages) for number in range(experiments)]
    keys = [key for one in outlines for key in sorted(one.keys)]
    busy = set(random.sample(keys, random.randrange(len(keys) + 1)))
    now = World(done=(), failed=(), live=busy)
    watched = [Watched(one, False, random.choice("xyz")) for one in outlines]

    ring = [bell.key for bell in decide(watched, now, {}, (), room).ring]

    assert len(ring) == len(set(ring)) == min(room, len(keys) - len(busy))
    assert not set(ring) & busy
