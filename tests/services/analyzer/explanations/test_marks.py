"""Marks on the tokens of held-out windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from services.analyzer.explanations.marks import marks_of
from tests.support.explanations.held_out_windows import CONTEXT, CONTEXTS, SEED, planted, windows_of
from tests.support.planted import codes_of


def test_right_marks_are_the_firing_tokens_and_wrong_ones_as_many_silent_tokens() -> None:
    dense = planted(4, density=0.1)
    windows = windows_of(codes_of(dense).by_feature())
    bounds = windows.bounds(np.arange(12))
    marks = marks_of(windows, bounds, SEED)
    fires_WK = windows.activations_WK > 0
    assert (marks.marks_WK[marks.right_W] == fires_WK[marks.right_W]).all()
    assert not (marks.marks_WK & fires_WK)[~marks.right_W].any()
    assert marks.marks_WK.any(axis=1).all()
    for begin, end in pairwise(bounds):
        sizes = marks.marks_WK[begin:end].sum(axis=1)
        right = marks.right_W[begin:end]
        assert set(sizes[~right]) <= set(sizes[right])
        # About half of the windows in which it fires are right ones.
        firing_ = windows.fires()[begin:end].sum()
        assert right.sum() == (firing_ + 1) // 2


def test_a_window_without_silent_tokens_cannot_be_marked_wrongly() -> None:
    dense = np.ones((CONTEXT * CONTEXTS, 1))
    windows = windows_of(codes_of(dense).by_feature())
    marks = marks_of(windows, windows.bounds(np.arange(1)), SEED)
    assert marks.marks_WK.any(axis=1).tolist() == marks.right_W.tolist()


def test_marks_of_a_feature_do_not_depend_on_the_others() -> None:
    codes = codes_of(planted(6))
    every = windows_of(codes.by_feature())
    one = windows_of(codes.by_feature(), [7])
    all_marks = marks_of(every, every.bounds(np.arange(12)), SEED)
    own_marks = marks_of(one, one.bounds(np.array([7])), SEED)
    assert (all_marks.marks_WK[every.feature_W == 7] == own_marks.marks_WK).all()
