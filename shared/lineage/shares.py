"""Shares of features that persist: the rules, their ratio, and their place between two controls.

Pure numbers in and out: the report computes an edge with it, and the API the same edge at another
threshold.
"""

from __future__ import annotations

import numpy as np

from shared.arrays import FloatArray

# Rules by which a parent's feature persists, as results of the match stage name their shares:
# it has a one-to-one match; any live feature of the child reaches the threshold, whoever else uses
# it; each is the other's best.
RULES = ("share", "share_any", "share_mutual")

# Below this distance the ceiling is no better than chance: there is no scale to measure on.
LEAST_RANGE = 0.01
PERCENTILES = (2.5, 97.5)  # of the bootstrap


def suffix(rule: str) -> str:
    """What a rule adds to a name: "" for one-to-one, "_any" and "_mutual" for the others."""
    return rule.removeprefix("share")


def ratio(part: float | None, whole: float | None) -> float | None:
    """part / whole; None when one is missing or the whole is 0."""
    return part / whole if part is not None and whole else None


def baseline(null: float | None, unrelated: float | None) -> float | None:
    """The larger of chance and of what a common start alone gives; None when neither is known."""
    known = [share for share in (null, unrelated) if share is not None]
    return max(known) if known else None


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
