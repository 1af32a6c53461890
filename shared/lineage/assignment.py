"""One-to-one matches (the assignment with the highest total correlation) and mutual ones.

Pure arrays in and out: the match stage computes an edge with it, and the API the same edge at
another threshold. E: candidate pairs, F: features of one side, G: of the other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from shared.arrays import BoolArray, FloatArray, IntArray


def matches_at(
    threshold: float, parent_E: IntArray, child_E: IntArray, r_E: FloatArray
) -> IntArray:
    """Which candidates are one-to-one matches at r >= threshold: their numbers, ascending.

    The candidates must hold every pair with r >= threshold; those below it change nothing.
    """
    high = np.flatnonzero(r_E >= threshold)
    return high[one_to_one(parent_E[high], child_E[high], r_E[high])]


def matched(
    features: int, own_E: IntArray, other_E: IntArray, r_E: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Of each feature [F] of one side its match in the other and their r; -1 and NaN for none."""
    partner_F, r_F = np.full(features, -1), np.full(features, np.nan)
    partner_F[own_E], r_F[own_E] = other_E, r_E
    return partner_F, r_F


def mutual_at(
    threshold: float, best_F: IntArray, best_r_F: FloatArray, best_G: IntArray
) -> BoolArray:
    """Which features [F] are the best of their best, with r >= threshold.

    best_F is -1 and best_r_F NaN where a feature has no partner.
    """
    high = np.flatnonzero(best_r_F >= threshold)  # a comparison with NaN is False
    mutual_F = np.zeros(len(best_F), bool)
    mutual_F[high[best_G[best_F[high]] == high]] = True
    return mutual_F


def one_to_one(parent_E: IntArray, child_E: IntArray, r_E: FloatArray) -> IntArray:
    """Which candidates are matched (their numbers, ascending), each feature at most once.

    The sum of r over the matches is the highest possible; r must be above 0 and no pair may occur
    twice. Among equal sums the choice follows from the order of the candidates alone.
    """
    shared = _occurs_again(parent_E) | _occurs_again(child_E)
    alone, open_ = np.flatnonzero(~shared), np.flatnonzero(shared)
    if len(open_) == 0:
        return alone
    chosen = open_[_solve(parent_E[open_], child_E[open_], r_E[open_])]
    return np.sort(np.concatenate([alone, chosen]))


def _occurs_again(numbers: IntArray) -> npt.NDArray[np.bool_]:
    _, inverse, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    return counts[inverse] > 1


def _solve(parent_E: IntArray, child_E: IntArray, r_E: FloatArray) -> IntArray:
    """The assignment on candidates that compete with each other.

    scipy asks for a *full* matching: every parent gets a column of its own that means "unmatched".
    Each parent is then matched exactly once, so 1 can be added to all weights without changing the
    choice; a weight of 0 would read as "no edge".
    """
    rows, row_E = np.unique(parent_E, return_inverse=True)
    columns, column_E = np.unique(child_E, return_inverse=True)
    own = np.arange(len(rows))
    weights = csr_matrix(
        (
            np.concatenate([1 + r_E, np.ones(len(rows))]),
            (np.concatenate([row_E, own]), np.concatenate([column_E, len(columns) + own])),
        ),
        shape=(len(rows), len(columns) + len(rows)),
    )
    matched_row, matched_column = min_weight_full_bipartite_matching(weights, maximize=True)
    partner = np.full(len(rows), -1)
    partner[matched_row] = matched_column
    return np.flatnonzero(partner[row_E] == column_E)
