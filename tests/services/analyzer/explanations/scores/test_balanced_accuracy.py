"""Balanced accuracies against numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analyzer.explanations.scores.balanced_accuracy import balanced_accuracies


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_balanced_accuracy_equals_the_mean_of_both_recalls(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bounds = np.cumsum([0, *rng.integers(0, 9, 6)])
    truth, answer, asked = (rng.random(bounds[-1]) < share for share in (0.4, 0.5, 0.8))
    found = balanced_accuracies(truth, answer, bounds, asked)
    for number, (a, b) in enumerate(pairwise(bounds)):
        t, y = truth[a:b][asked[a:b]], answer[a:b][asked[a:b]]
        if t.any() and not t.all():
            expected = (y[t].mean() + (~y[~t]).mean()) / 2
            assert found[number] == pytest.approx(expected)
        else:
            assert np.isnan(found[number])


def test_an_answer_that_does_not_look_has_a_balanced_accuracy_of_a_half() -> None:
    truth = np.array([True] + [False] * 19)
    for answer in (np.zeros(20, bool), np.ones(20, bool)):
        assert balanced_accuracies(truth, answer, np.array([0, 20]))[0] == 0.5
