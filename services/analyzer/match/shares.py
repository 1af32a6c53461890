"""The match rules at a threshold: any, mutual best, one-to-one; and their shares over thresholds.

F: features of the parent, G: of the child, E: candidate pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.analyzer.codes.correlate import Pairs
from shared.arrays import FloatArray, IntArray
from shared.lineage.assignment import one_to_one
from shared.lineage.shares import RULES, ratio

THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))  # of the curve


@dataclass(frozen=True)
class Counts:
    """Numbers of the parent's features that persist by each rule."""

    one_to_one: int
    any: int
    mutual: int

    def shares(self, alive: int) -> dict[str, float | None]:
        """Shares of the live features, by the names of RULES; None without live features."""
        counts = (self.one_to_one, self.any, self.mutual)
        return {name: ratio(count, alive) for name, count in zip(RULES, counts, strict=True)}


def counts_at(threshold: float, pairs: Pairs) -> Counts:
    """The counts by each rule, from candidates that include all pairs with r >= threshold."""
    high = np.flatnonzero(pairs.r_Z >= threshold)
    parent_E, child_E, r_E = pairs.parent_Z[high], pairs.child_Z[high], pairs.r_Z[high]
    if len(high) == 0:
        return Counts(0, 0, 0)
    return Counts(
        one_to_one=len(one_to_one(parent_E, child_E, r_E)),
        any=len(np.unique(parent_E)),
        mutual=len(mutual_pairs(parent_E, child_E, r_E)),
    )


def mutual_pairs(parent_E: IntArray, child_E: IntArray, r_E: FloatArray) -> IntArray:
    """Places in E of the pairs that are both features' best; the lowest number wins a tie."""
    both_E = np.ones(len(r_E), bool)
    for own_E, other_E in ((parent_E, child_E), (child_E, parent_E)):
        order = np.lexsort((other_E, -r_E, own_E))
        best_E = np.zeros(len(r_E), bool)
        best_E[order[np.flatnonzero(np.diff(own_E[order], prepend=-1))]] = True
        both_E &= best_E
    return np.flatnonzero(both_E)


def curve(pairs: Pairs, alive: int) -> dict[str, FloatArray]:
    """Shares [thresholds] by each rule, under the names of RULES; NaN without live features."""
    rows = [counts_at(threshold, pairs).shares(alive) for threshold in THRESHOLDS]
    return {name: np.array([row[name] for row in rows], np.float64) for name in RULES}
