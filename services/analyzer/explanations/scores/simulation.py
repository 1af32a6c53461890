"""Simulation score: how strongly the feature fires on each token, as the explanation predicts it.

Bills et al. 2023, "Language models can explain neurons in language models"; Bricken et al. 2023,
"Towards Monosemanticity". Over all tokens of a feature's held-out windows, those on which it is
silent included, with true activations a and simulated ones s,

    r = sum (a - mean a)(s - mean s) / sqrt(sum (a - mean a)^2 sum (s - mean s)^2).

F: features, W: windows, K: tokens of a window. NaN: undefined.
"""

from __future__ import annotations

import numpy as np

from services.analyzer.explanations.scores.registry import computes
from services.analyzer.explanations.scores.trial import Trial
from shared.arrays import Float32Array, FloatArray, IntArray
from shared.lineage.explanations.scores import SCORES

# A spread below this share of the second moment is rounding: the values are constant.
CONSTANT = 1e-12


@computes(SCORES["simulation"])
def simulation(trial: Trial) -> FloatArray:
    """Pearson correlation of true and simulated activations [N]; see `simulation_scores`."""
    return simulation_scores(trial.windows.activations_WK, trial.predicted_WK, trial.bounds_N)


def simulation_scores(
    true_WK: Float32Array, predicted_WK: Float32Array, bounds: IntArray
) -> FloatArray:
    """Pearson correlation over the tokens of each feature's windows [F].

    The windows of feature f are bounds[f] .. bounds[f + 1]; together they are all windows. NaN for
    a feature without windows, for one whose true or predicted activations are all the same, and
    where a prediction is NaN.
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
