"""Is a feature's best correlation higher than by chance? p by the null, q over all features.

F: features, L: live features, S: shifts of the null, N: all null values.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import BoolArray, FloatArray, IntArray

# Chance gives rare features a much higher best r than frequent ones, so each is compared with null
# values of features with about as many firings: in as many strata as leave this many in each.
STRATUM = 500
MOST_STRATA = 20
FALSE_DISCOVERIES = 0.05


def p_values(
    best_r_F: FloatArray, null_best_r_SF: FloatArray, firings_F: IntArray, alive_F: BoolArray
) -> FloatArray:
    """(1 + null values as high) / (1 + null values) in the feature's stratum [F]; NaN if not live.

    The added one counts the observation itself (Davison and Hinkley 1997, equation 4.11). NaN
    correlations (no partner at all) count as 0.
    """
    p_F = np.full(len(firings_F), np.nan)
    live = np.flatnonzero(alive_F)
    if len(live) == 0 or len(null_best_r_SF) == 0:
        return p_F
    r_F, null_SF = np.nan_to_num(best_r_F), np.nan_to_num(null_best_r_SF)
    strata_L = _strata(firings_F[live], len(null_SF))
    for stratum in range(int(strata_L.max()) + 1):
        members = live[strata_L == stratum]
        null_N = np.sort(null_SF[:, members], axis=None)
        as_high = len(null_N) - np.searchsorted(null_N, r_F[members], side="left")
        p_F[members] = (1 + as_high) / (1 + len(null_N))
    return p_F


def _strata(firings_L: IntArray, shifts: int) -> IntArray:
    """The stratum of each live feature [L]; equal firings are never separated."""
    count = int(np.clip(len(firings_L) * shifts // STRATUM, 1, MOST_STRATA))
    ordered = np.sort(firings_L)
    edges = np.unique(ordered[len(ordered) * np.arange(1, count) // count])
    strata_L: IntArray = np.searchsorted(edges, firings_L, side="right")
    return np.unique(strata_L, return_inverse=True)[1].reshape(-1)


def q_values(p_F: FloatArray) -> FloatArray:
    """Benjamini and Hochberg's (1995) adjusted p [F] over the features that have a p; else NaN."""
    q_F = np.full(len(p_F), np.nan)
    tested = np.flatnonzero(~np.isnan(p_F))
    order = tested[np.argsort(p_F[tested], kind="stable")]
    scaled = p_F[order] * len(order) / np.arange(1, len(order) + 1)
    q_F[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return q_F
