"""Means of scores over features, and how sure they are.

F: features. NaN: a score that is undefined or was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shared.arrays import FloatArray
from shared.lineage.explanations.scores import MAIN, SCORES
from shared.lineage.shares import PERCENTILES

REPLICATES = 1000
BLOCK = 1 << 24  # drawn numbers that are held at a time


def means(scores: Mapping[str, FloatArray], seed: int) -> dict[str, float | list[float] | None]:
    """The mean of each score [F], under its column, and the interval of the main one.

    `scores` are by their names, all of one set of features.
    """
    found: dict[str, float | list[float] | None] = {}
    for name, score in SCORES.items():
        found[score.column] = mean_of(scores[name])
        if score is MAIN:
            found["interval"] = interval_of(scores[name], seed)
    return found


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
    replicates: list[FloatArray] = []
    size = max(1, BLOCK // len(defined))
    for first in range(0, REPLICATES, size):
        rows = min(size, REPLICATES - first)
        replicates.append(defined[rng.integers(0, len(defined), (rows, len(defined)))].mean(axis=1))
    low, high = np.percentile(np.concatenate(replicates), PERCENTILES)
    return [float(low), float(high)]
