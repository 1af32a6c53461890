"""The reconciler's decisions, on plans small enough to see."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.plan import Plan, PlannedStage
from shared.reconcile import (
    ExperimentState,
    StageState,
    Watched,
    World,
    decide,
    experiment_state,
    stage_states,
)


def stage(key: str, *inputs: str) -> PlannedStage:
    return PlannedStage(
        key=key, kind="add", service="trainer", version=1, parameters={}, title=key,
        inputs={f"part/{number}": name for number, name in enumerate(inputs)},
    )  # fmt: skip


#     a -> b -> d      e stands alone
#     a -> c -> d
DIAMOND = Plan(
    name="diamond",
    stages=(stage("a"), stage("b", "a"), stage("c", "a"), stage("d", "b", "c"), stage("e")),
)


def world(done: str = "", failed: str = "", live: str = "") -> World:
    return World(done=set(done), failed=set(failed), live=set(live))


def rung(experiments: list[Watched], now: World) -> str:
    return "".join(bell.key for bell in decide(experiments, now).ring)


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
    assert decide([gone, going], world(live="a")).stop == ()
    assert decide([gone, gone], world(live="a")).stop == ("a",)
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
