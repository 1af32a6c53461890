"""The planted-lineage benchmark at a small size, with two seeds."""

from __future__ import annotations

import pytest

from bench.planted import Setting, run
from bench.support.planted_world import Sizes

SMALL = Setting(
    tokens=60_000, training=120_000, steps=800, features=128, k=2, sizes=Sizes(40, 14, 14, 8, 8)
)


@pytest.mark.parametrize("seed", [0, 1])
def test_statuses_are_exact_with_true_codes_and_persistence_survives_training(seed: int) -> None:
    scores = {(row.codes, row.status): row for row in run(seed, SMALL)}
    for status in ("persist", "disappear", "emerge"):
        assert scores["true", status].f1 == 1
    for status in ("split", "merge"):
        assert scores["true", status].f1 >= 0.95
    assert scores["trained", "persist"].f1 >= 0.9


def test_without_training_only_the_true_codes_are_scored() -> None:
    assert {row.codes for row in run(2, SMALL, trained=False)} == {"true"}
