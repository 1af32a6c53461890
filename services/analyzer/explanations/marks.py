"""Marks on the tokens of held-out windows: those on which the feature fires, or others.

W: windows, K: tokens of a window, N: features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.analyzer.explanations.held_out import Windows
from shared.arrays import BoolArray, IntArray

MARKS = 3  # what a seed is for, beside those of held_out.py


@dataclass(frozen=True)
class Marks:
    """The marked tokens of each window, and whether they are those on which the feature fires.

    Nothing is asked about windows without marks: those of a feature that fires in none, and those
    that have no silent token to mark.
    """

    marks_WK: BoolArray
    right_W: BoolArray


def marks_of(windows: Windows, bounds_N: IntArray, seed: int) -> Marks:
    """Marks in every window of every feature; bounds_N [N + 1] are where its windows begin.

    Of the windows in which the feature fires, the first, third .. (active ones from strong to weak,
    then random ones) are right: the tokens on which it fires are marked. In all other windows as
    many silent tokens are marked as in the right ones, in turn, drawn with the seed; so the number
    of marks tells nothing.
    """
    fires_WK = windows.activations_WK > 0
    marks_WK = np.zeros_like(fires_WK)
    right_W = np.zeros(len(fires_WK), bool)
    for begin, end in zip(bounds_N[:-1].tolist(), bounds_N[1:].tolist(), strict=True):
        firing = begin + np.flatnonzero(fires_WK[begin:end].any(axis=1))
        if len(firing) == 0:
            continue
        right = firing[::2]
        right_W[right] = True
        marks_WK[right] = fires_WK[right]
        wrong = np.setdiff1d(np.arange(begin, end), right)
        counts = np.resize(fires_WK[right].sum(axis=1), len(wrong))
        rng = np.random.default_rng([seed, MARKS, int(windows.feature_W[begin])])
        # Ranks of random numbers: silent tokens come first, in a drawn order.
        order = np.argsort(fires_WK[wrong] + rng.random((len(wrong), fires_WK.shape[1])), axis=1)
        rank = np.argsort(order, axis=1)
        marks_WK[wrong] = (rank < counts[:, None]) & ~fires_WK[wrong]
    return Marks(marks_WK, right_W)
