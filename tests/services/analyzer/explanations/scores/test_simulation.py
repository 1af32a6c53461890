"""Simulation scores against numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analyzer.explanations.scores.simulation import simulation_scores


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e4]))
@settings(max_examples=40, deadline=None)
def test_simulation_scores_equal_numpy_feature_by_feature(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    bounds = np.cumsum([0, *rng.integers(1, 6, 7)])
    true = (rng.exponential(1, (bounds[-1], 9)) * (rng.random((bounds[-1], 9)) < 0.3)).astype("f4")
    predicted = (scale * (true * rng.random() + rng.random(true.shape) + 3)).astype(np.float32)
    found = simulation_scores(true, predicted, bounds)
    for number, (a, b) in enumerate(pairwise(bounds)):
        if true[a:b].any():
            expected = np.corrcoef(true[a:b].ravel().astype(float), predicted[a:b].ravel())[0, 1]
            assert found[number] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(found[number])


def test_a_constant_side_an_absent_prediction_and_no_windows_have_no_score() -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    constant = np.full((2, 4), 0.1, np.float32)
    assert np.isnan(simulation_scores(constant, values, np.array([0, 2]))).all()
    assert np.isnan(simulation_scores(values, constant, np.array([0, 2]))).all()
    absent = values.copy()
    absent[0] = np.nan
    # The first feature's prediction is absent, the second's right; the third has no windows.
    found = simulation_scores(values, absent, np.array([0, 1, 2, 2]))
    assert np.isnan(found[[0, 2]]).all()
    assert found[1] == pytest.approx(1)


def test_silent_tokens_count_in_the_simulation_score() -> None:
    # Right where it fires, wrong where it does not: over the firing tokens alone r would be 1.
    true = np.array([[1, 2, 3, 0, 0, 0]], np.float32)
    predicted = np.array([[1, 2, 3, 3, 3, 3]], np.float32)
    assert simulation_scores(true, predicted, np.array([0, 1]))[0] < 0.1
