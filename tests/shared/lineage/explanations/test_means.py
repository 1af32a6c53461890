"""Means of scores over features, and their intervals against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from shared.lineage.explanations.means import interval_of, mean_of, means
from shared.lineage.explanations.scores import MEANS, SCORES


def test_means_and_intervals_leave_undefined_scores_out() -> None:
    assert mean_of(np.array([0.5, np.nan, 1.0])) == 0.75
    assert mean_of(np.array([np.nan])) is None
    assert interval_of(np.array([0.5, np.nan]), 1) is None


def test_the_interval_of_a_mean_agrees_with_scipy() -> None:
    scores = np.random.default_rng(0).beta(2, 3, 400)
    low, high = interval_of(scores, 7) or (0, 0)
    expected = stats.bootstrap(
        (scores,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.1 * width)
    assert high == pytest.approx(expected.high, abs=0.1 * width)
    assert interval_of(scores, 7) == [low, high]
    assert interval_of(scores, 8) != [low, high]


def test_the_interval_does_not_depend_on_how_the_replicates_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = np.random.default_rng(0).random(50)
    whole = interval_of(scores, 3)
    monkeypatch.setattr("shared.lineage.explanations.means.BLOCK", 350)
    assert interval_of(scores, 3) == whole


def test_every_declared_score_has_a_mean_and_the_main_one_an_interval() -> None:
    values = {name: np.array([0.25, 0.75, np.nan]) for name in SCORES}
    found = means(values, 3)
    assert tuple(found) == MEANS
    assert MEANS[:4] == ("score", "interval", "detection", "fuzzing")
    assert found["detection"] == 0.5
    assert found["interval"] == interval_of(values["simulation"], 3)
