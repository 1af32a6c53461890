"""What is known of stages, and how few look-ups that takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.experiments.states import Node, Outline
from shared.experiments.survey import COLLECTED, Survey
from shared.store import LocalStore
from shared.store.base import ObjectInfo


class Counting(LocalStore):
    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []

    def stat(self, name: str) -> ObjectInfo | None:
        if name != COLLECTED:  # asked every few seconds, however many stages there are
            self.asked.append(name)
        return super().stat(name)

    def finish(self, *keys: str) -> None:
        for key in keys:
            self.put(f"stages/{key}/manifest.json", b"{}")

    def fail(self, key: str) -> None:
        self.put(f"stages/{key}/failure.json", b"{}")


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(tmp_path)


def chain(length: int) -> Outline:
    """s0 -> s1 -> .. each needs the one before."""
    return Outline(
        tuple(
            Node(f"s{number}", "x", (f"s{number - 1}",) if number else ())
            for number in range(length)
        )
    )


def test_a_finished_plan_costs_one_look_at_its_last_stage(store: Counting) -> None:
    store.finish(*(f"s{number}" for number in range(1000)))
    survey = Survey(store)
    done, failed = survey.look([chain(1000)])
    assert len(done) == 1000
    assert not failed
    assert store.asked == ["stages/s999/manifest.json"]


def test_a_plan_that_has_not_begun_costs_a_few_looks(store: Counting) -> None:
    assert Survey(store).look([chain(1000)]) == (set(), set())
    assert len(store.asked) == 4, "manifest and failure of the last stage and of the first"


def test_stages_are_found_as_far_as_they_are_done(store: Counting) -> None:
    store.finish("s0", "s1", "s2")
    store.fail("s3")
    assert Survey(store).look([chain(6)]) == ({"s0", "s1", "s2"}, {"s3"})


def test_what_is_done_is_never_looked_up_again_and_the_rest_when_hinted_at(
    store: Counting,
) -> None:
    survey = Survey(store, fresh=float("inf"))
    store.finish("s0")
    survey.look([chain(3)])
    store.asked.clear()
    store.finish("s1")

    assert survey.look([chain(3)])[0] == {"s0"}
    assert store.asked == []
    survey.hint(["s1"])
    assert survey.look([chain(3)])[0] == {"s0", "s1"}
    assert "stages/s0/manifest.json" not in store.asked


def test_a_stage_that_was_collected_is_missing_until_it_is_seen_again(store: Counting) -> None:
    store.finish("s0", "s1", "s2")
    survey = Survey(store)
    assert survey.look([chain(3)])[0] == {"s0", "s1", "s2"}
    store.delete("stages/s1/manifest.json")
    survey.forget(["s1"])

    assert "s1" not in survey.look([chain(3)])[0]
    store.finish("s1")
    assert "s1" in survey.look([chain(3)])[0]


def test_a_retried_stage_is_no_longer_failed(store: Counting) -> None:
    survey = Survey(store, fresh=float("inf"))
    store.fail("s0")
    assert survey.look([chain(2)])[1] == {"s0"}
    store.delete("stages/s0/failure.json")
    survey.hint_all()
    assert survey.look([chain(2)])[1] == set()
