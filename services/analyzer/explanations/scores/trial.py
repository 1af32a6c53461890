"""What explanations said of held-out windows, beside what is true: all that a score may look at.

N: explained features, W: held-out windows of all of them, K: tokens of a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from services.analyzer.explanations.held_out import Windows
from services.analyzer.explanations.marks import Marks
from shared.arrays import BoolArray, Float32Array, IntArray


@dataclass(frozen=True)
class Quiz:
    """A yes-or-no question about each window.

    `shown_WK` are the tokens that it is about: does the feature fire on one of them? `right_W` is
    the right answer. Windows without such tokens are not asked about.
    """

    shown_WK: BoolArray
    right_W: BoolArray

    def asked(self) -> BoolArray:
        """Windows that are asked about [W]."""
        return np.asarray(self.shown_WK.any(axis=1))


@dataclass(frozen=True)
class Verdicts:
    """The answers to a quiz, filled in feature by feature.

    `yes_W` counts for the features of `given_N`: those that have an answer for every window.
    """

    quiz: Quiz
    yes_W: BoolArray
    given_N: BoolArray


@dataclass(frozen=True)
class Trial:
    """Explanations on trial.

    The windows of the n-th feature are bounds_N[n] .. bounds_N[n + 1]. `predicted_WK` are simulated
    activations, NaN without a simulation; `verdicts` are by the names of scores.
    """

    windows: Windows
    bounds_N: IntArray
    marks: Marks
    predicted_WK: Float32Array
    verdicts: Mapping[str, Verdicts]
