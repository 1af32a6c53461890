"""Splits and merges: a feature as a non-negative sum of a few features of the other model.

The multiple correlation of a feature with its parts is that of non-negative least squares on
centred activations, which needs nothing but correlations: with r the correlations of the parts with
the feature and G those among the parts, beta = G^-1 r and R^2 = r beta (Draper and Smith, Applied
Regression Analysis, chapter 6). Parts are found by forward selection with refitting, from the best
pair on.

N: features looked at, C: candidates of each, K: parts chosen so far, S: ways to add to these,
F: features of the side, P: parts of all features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from services.analyzer.codes.products import correlations, firings_together
from services.analyzer.codes.standardise import Standardised
from shared.arrays import BoolArray, FloatArray, IntArray

EXPLAINED = 0.95  # from this best r on, one partner explains the feature alone
CANDIDATES = 8  # highest r first
# A part of a tenth of R^2 = .64 (the least that counts at a threshold of .8) has r = .25.
FLOOR = 0.2
# Without a part, the rest must explain at least this share of R^2 less: otherwise the part is
# noise, or repeats another one.
LEAST_SHARE = 0.1
# Two noisy copies of a feature correlate with each other by the product of their r; the parts of a
# split feature, which fire in turn, do not. Parts must stay below this share of that product.
ALIKE = 0.5
TOGETHER = 5  # tokens on which a part must fire with the feature: fewer may be a coincidence
RIDGE = 1e-9  # on the diagonal, so that LEAST_SHARE and not luck rejects exact duplicates


@dataclass(frozen=True)
class Parts:
    """Sums found for one side: multiple_r_F (NaN: none) and the parts of each feature.

    Those of feature f are parts_P[starts_F[f] : starts_F[f + 1]], ascending.
    """

    multiple_r_F: FloatArray
    starts_F: IntArray
    parts_P: IntArray

    @classmethod
    def none(cls, features: int) -> Parts:
        """No feature is a sum."""
        empty = np.empty(0, np.int64)
        return cls(np.full(features, np.nan), np.zeros(features + 1, np.int64), empty)


def find_parts(
    best_r_F: FloatArray,
    pairs: tuple[IntArray, IntArray, FloatArray],
    sides: Callable[[], tuple[Standardised, Standardised]],
    most: int,
) -> Parts:
    """The best non-negative combination of 2 to `most` features of the other side, per feature.

    `pairs` are (feature, candidate, r) of all pairs with r >= FLOOR, best_r_F the highest r (NaN:
    none). Features with best r >= EXPLAINED or fewer than two candidates are not looked at.
    `sides` returns the codes of this side and of the other; it is called only if these are needed.
    """
    features_N, candidate_NC, r_NC = _candidates(best_r_F, *pairs)
    if most < 2 or len(features_N) == 0:
        return Parts.none(len(best_r_F))
    own, others = sides()
    row_Z, place_Z = np.nonzero(candidate_NC >= 0)
    together_Z = firings_together(own, others, features_N[row_Z], candidate_NC[row_Z, place_Z])
    chance = together_Z < TOGETHER
    r_NC[row_Z[chance], place_Z[chance]] = 0
    among_NCC = _among(candidate_NC, others)
    chosen_NC, squared_N = choose(r_NC, among_NCC, most)
    sums = np.flatnonzero(squared_N > 0)
    multiple_r_F = np.full(len(best_r_F), np.nan)
    multiple_r_F[features_N[sums]] = np.sqrt(np.minimum(squared_N[sums], 1))
    row_P, column_P = np.nonzero(chosen_NC[sums])
    part_P = candidate_NC[sums][row_P, column_P]
    order = np.lexsort((part_P, row_P))
    counts_F = np.zeros(len(best_r_F), np.int64)
    counts_F[features_N[sums]] = chosen_NC[sums].sum(axis=1)
    starts_F = np.concatenate([[0], np.cumsum(counts_F)])
    return Parts(multiple_r_F, starts_F, part_P[order].astype(np.int64))


def choose(r_NC: FloatArray, among_NCC: FloatArray, most: int) -> tuple[BoolArray, FloatArray]:
    """Mask of the candidates that make up each feature [N, C]; R^2 of their sum [N], 0: none do.

    r_NC: correlations of the candidates with the feature, 0 where there is no candidate;
    among_NCC: those among the candidates.
    """
    rows, chosen_NK = np.arange(len(r_NC)), np.empty((len(r_NC), 0), np.int64)
    chosen_NC, squared_N = np.zeros(r_NC.shape, bool), np.zeros(len(r_NC))
    while len(rows) and chosen_NK.shape[1] < min(most, r_NC.shape[1]):
        ways = combinations(range(r_NC.shape[1]), 1 if chosen_NK.shape[1] else 2)
        best_NK, best_N = _best_step(np.array(list(ways)), chosen_NK, r_NC[rows], among_NCC[rows])
        improved = np.flatnonzero(best_N > 0)
        rows, chosen_NK = rows[improved], best_NK[improved]
        squared_N[rows] = best_N[improved]
        chosen_NC[rows[:, None], chosen_NK] = True
    return chosen_NC, squared_N


def _best_step(
    ways_SK: IntArray, chosen_NK: IntArray, r_NC: FloatArray, among_NCC: FloatArray
) -> tuple[IntArray, FloatArray]:
    """The choice after the best of some additions, and its R^2 [N]; 0 where none is allowed."""
    best_N = np.zeros(len(r_NC))
    best_NK = np.empty((len(r_NC), chosen_NK.shape[1] + ways_SK.shape[1]), np.int64)
    limit_NCC = ALIKE * r_NC[:, :, None] * r_NC[:, None, :]
    apart_NCC = (among_NCC <= limit_NCC) & (limit_NCC > 0)
    every_N = np.arange(len(r_NC))
    for way in ways_SK:
        grown_NK = np.hstack([chosen_NK, np.broadcast_to(way, (len(r_NC), len(way)))])
        allowed_N = np.ones(len(r_NC), bool)
        for first, second in combinations(range(grown_NK.shape[1]), 2):
            allowed_N &= grown_NK[:, first] != grown_NK[:, second]
            allowed_N &= apart_NCC[every_N, grown_NK[:, first], grown_NK[:, second]]
        rows = np.flatnonzero(allowed_N)
        part_MK = grown_NK[rows]
        squared_M = _fit(
            np.take_along_axis(r_NC[rows], part_MK, axis=1),
            among_NCC[rows[:, None, None], part_MK[:, :, None], part_MK[:, None, :]],
        )
        better = np.flatnonzero(squared_M > best_N[rows])
        best_N[rows[better]] = squared_M[better]
        best_NK[rows[better]] = part_MK[better]
    return best_NK, best_N


def _fit(r_NK: FloatArray, among_NKK: FloatArray) -> FloatArray:
    """R^2 of the least-squares sum [N]; 0 where a weight is not positive or a part is idle.

    Without part i, R^2 would be lower by beta_i^2 / (G^-1)_ii.
    """
    inverse_NKK = np.linalg.inv(among_NKK + RIDGE * np.eye(r_NK.shape[1]))
    beta_NK = (inverse_NKK @ r_NK[:, :, None])[:, :, 0]
    squared_N = (beta_NK * r_NK).sum(axis=1)
    lost_NK = beta_NK**2 / np.diagonal(inverse_NKK, axis1=1, axis2=2)
    useful_N = ((beta_NK > 0) & (lost_NK >= LEAST_SHARE * squared_N[:, None])).all(axis=1)
    fitted_N: FloatArray = np.where(useful_N, squared_N, 0.0)
    return fitted_N


def _candidates(
    best_r_F: FloatArray, feature_E: IntArray, candidate_E: IntArray, r_E: FloatArray
) -> tuple[IntArray, IntArray, FloatArray]:
    """Features to look at [N], their candidates [N, C] (-1: none) and correlations (none: 0)."""
    open_F = best_r_F < EXPLAINED
    pairs = np.flatnonzero(open_F[feature_E] & (r_E >= FLOOR))
    pairs = pairs[np.lexsort((candidate_E[pairs], -r_E[pairs], feature_E[pairs]))]
    features_N, first_N, counts_N = np.unique(
        feature_E[pairs], return_index=True, return_counts=True
    )
    several = counts_N >= 2
    features_N, first_N, counts_N = features_N[several], first_N[several], counts_N[several]
    place_NC = first_N[:, None] + np.arange(CANDIDATES)
    there_NC = np.arange(CANDIDATES) < counts_N[:, None]
    source_NC = pairs[np.where(there_NC, place_NC, 0)] if len(pairs) else place_NC
    return (
        features_N,
        np.where(there_NC, candidate_E[source_NC], -1),
        np.where(there_NC, r_E[source_NC], 0.0),
    )


def _among(candidate_NC: IntArray, others: Standardised) -> FloatArray:
    """Correlations among the candidates of each feature [N, C, C]; each is computed once."""
    first, second = np.triu_indices(candidate_NC.shape[1], 1)
    low_NE = np.minimum(candidate_NC[:, first], candidate_NC[:, second])
    high_NE = np.maximum(candidate_NC[:, first], candidate_NC[:, second])
    there_NE = low_NE >= 0
    numbers = low_NE[there_NE] * others.width + high_NE[there_NE]  # one number for each pair
    distinct, inverse = np.unique(numbers, return_inverse=True)
    r = correlations(others, others, *np.divmod(distinct, others.width))
    r_NE = np.zeros(low_NE.shape)
    r_NE[there_NE] = r[inverse]
    among_NCC = np.zeros((len(candidate_NC), candidate_NC.shape[1], candidate_NC.shape[1]))
    among_NCC[:, first, second] = among_NCC[:, second, first] = r_NE
    among_NCC += np.eye(candidate_NC.shape[1])
    return among_NCC
