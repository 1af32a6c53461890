"""Persistence between its two controls: how far a share lies from chance towards the ceiling.

Pure numbers in and out: the report computes an edge with it, and the API the same edge at another
threshold.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import FloatArray

# Below this distance the ceiling is no better than chance: there is no scale to measure on.
LEAST_RANGE = 0.01
PERCENTILES = (2.5, 97.5)  # of the bootstrap


def adjusted(share: float | None, null: float | None, ceiling: float | None) -> float | None:
    """(share - null) / (ceiling - null): 0 is chance, 1 what two dictionaries of one model share.

    None when a part is missing or the ceiling does not stand clear of chance. It may exceed 1: the
    ceiling is an estimate too.
    """
    if share is None or null is None or ceiling is None or ceiling - null < LEAST_RANGE:
        return None
    return (share - null) / (ceiling - null)


def interval(values_B: FloatArray) -> tuple[float, float] | None:
    """The middle 95 % of bootstrap replicates; None when fewer than two are numbers."""
    usable = values_B[np.isfinite(values_B)]
    if len(usable) < 2:
        return None
    low, high = np.percentile(usable, PERCENTILES)
    return float(low), float(high)


def adjusted_interval(
    share_B: FloatArray, null: float | None, ceiling_B: FloatArray
) -> tuple[float, float] | None:
    """Interval of the adjusted share; replicate b drew the same documents on both sides.

    Replicates in which the ceiling does not stand clear of chance are left out; None when they are
    more than one in twenty: then the interval would be one of the lucky ones only.
    """
    if null is None or len(share_B) != len(ceiling_B) or len(share_B) == 0:
        return None
    range_B = ceiling_B - null
    usable = range_B >= LEAST_RANGE
    if usable.mean() < 0.95:
        return None
    return interval((share_B[usable] - null) / range_B[usable])
