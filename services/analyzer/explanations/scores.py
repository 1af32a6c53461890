"""How good an explanation is: three scores, and intervals of their means.

Simulation score (Bills et al. 2023, "Language models can explain neurons in language models";
Bricken et al. 2023, "Towards Monosemanticity"): over all tokens of a feature's held-out windows,
those on which it is silent included, with true activations a and simulated ones s,

    r = sum (a - mean a)(s - mean s) / sqrt(sum (a - mean a)^2 sum (s - mean s)^2).

Detection and fuzzing (Paulo, Mallen, Juang and Belrose 2024, "Automatically Interpreting Millions
of Features in Large Language Models", arXiv 2410.13928) ask whether the feature fires in a window,
and whether the marked tokens of a window are those on which it fires. Both are scored by

    balanced accuracy = (true positives / positives + true negatives / negatives) / 2,

which is 1/2 for an answer that does not look, however many windows are positive.

F: features, W: windows, K: tokens of a window, B: replicates. NaN: undefined.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import BoolArray, Float32Array, FloatArray, IntArray

REPLICATES = 1000
BLOCK = 1 << 24  # drawn numbers that are held at a time
# A spread below this share of the second moment is rounding: the values are constant.
CONSTANT = 1e-12
DETECTED = 0.5  # level from which a simulation says that the feature fires: it rounds to 1


def simulation_scores(
    true_WK: Float32Array, predicted_WK: Float32Array, bounds: IntArray
) -> FloatArray:
    """Pearson correlation over the tokens of each feature's windows [F].

    The windows of feature f are bounds[f] .. bounds[f + 1], all of them together every window. NaN
    where there are none, and where the
    true or the predicted activations are all the same (or a prediction is NaN).
    """
    features = len(bounds) - 1
    feature_W = np.repeat(np.arange(features), np.diff(bounds))
    tokens_F = np.diff(bounds) * true_WK.shape[1]

    def summed(values_WK: FloatArray) -> FloatArray:
        sums_F = np.bincount(feature_W, values_WK.sum(axis=1), features)
        return sums_F.astype(np.float64)

    def centred(values_WK: Float32Array) -> tuple[FloatArray, FloatArray]:
        """Deviations from the feature's mean, and the sum of their squares (0 if constant)."""
        x_WK = values_WK.astype(np.float64)
        second_F = summed(x_WK**2)
        mean_F = summed(x_WK) / np.maximum(1, tokens_F)
        x_WK -= mean_F[feature_W, None]
        spread_F = summed(x_WK**2)
        spread_F[spread_F <= CONSTANT * second_F] = 0
        return x_WK, spread_F

    (a_WK, a_F), (s_WK, s_F) = centred(true_WK), centred(predicted_WK)
    together_F = summed(a_WK * s_WK)
    with np.errstate(invalid="ignore", divide="ignore"):
        r_F = together_F / (np.sqrt(a_F) * np.sqrt(s_F))
    r_F[(a_F == 0) | (s_F == 0)] = np.nan
    clipped_F: FloatArray = np.clip(r_F, -1, 1)
    return clipped_F


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


def mean_of(scores_F: FloatArray) -> float | None:
    """The mean of the scores that are defined; None of none."""
    defined = scores_F[~np.isnan(scores_F)]
    return float(defined.mean()) if len(defined) else None


def interval_of(scores_F: FloatArray, seed: int) -> list[float] | None:
    """The 95 % interval [low, high] of the mean over features: percentiles of a bootstrap.

    Features are drawn with replacement, REPLICATES times (Efron and Tibshirani, An Introduction to
    the Bootstrap, chapter 13). None for fewer than two defined scores, which tell no spread.
    """
    defined = scores_F[~np.isnan(scores_F)]
    if len(defined) < 2:
        return None
    rng = np.random.default_rng([seed, len(defined)])
    means: list[FloatArray] = []
    size = max(1, BLOCK // len(defined))
    for first in range(0, REPLICATES, size):
        rows = min(size, REPLICATES - first)
        means.append(defined[rng.integers(0, len(defined), (rows, len(defined)))].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return [float(low), float(high)]
