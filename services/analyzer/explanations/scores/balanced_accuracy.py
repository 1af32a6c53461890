"""Balanced accuracy: how often yes-or-no answers are right, whatever the share of yes.

    balanced accuracy = (true positives / positives + true negatives / negatives) / 2

is 1/2 for an answer that does not look, however many windows are positive.

F: features, W: windows. NaN: undefined.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import BoolArray, FloatArray, IntArray


def balanced_accuracies(
    truth_W: BoolArray, answer_W: BoolArray, bounds: IntArray, asked_W: BoolArray | None = None
) -> FloatArray:
    """Balanced accuracy of the answers on each feature's windows [F]; NaN where one kind lacks.

    The windows of feature f are bounds[f] .. bounds[f + 1]; those not in asked_W do not count.
    """
    features = len(bounds) - 1
    feature_W = np.repeat(np.arange(features), np.diff(bounds))
    counted_W = np.ones(len(truth_W), bool) if asked_W is None else asked_W

    def count(which_W: BoolArray) -> FloatArray:
        found_F = np.bincount(feature_W[which_W & counted_W], minlength=features)
        return found_F.astype(np.float64)

    with np.errstate(invalid="ignore"):
        hit_F = count(truth_W & answer_W) / count(truth_W)
        passed_F = count(~truth_W & ~answer_W) / count(~truth_W)
    accuracy_F: FloatArray = (hit_F + passed_F) / 2
    return accuracy_F
