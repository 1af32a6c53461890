"""One side of an edge: a model's features with their partners in the other model."""

from __future__ import annotations

from dataclasses import dataclass

from shared.arrays import BoolArray, FloatArray, IntArray


@dataclass(frozen=True)
class Side:
    """One model's features on an edge at a threshold; arrays [F] have one entry per feature.

    alive: fires often enough to be told from chance; best: the feature of the other model with the
    highest positive r among its live ones, best_r its r (-1 and NaN: none, or the feature is rare
    itself); mutual: each is the other's best, and r >= threshold; partner, r: the one-to-one match
    at r >= threshold (-1, NaN); multiple_r: correlation with its parts together (NaN: fewer than
    two). The parts of feature f are parts_P[starts_F[f] : starts_F[f + 1]], features of the other
    side; starts_F has one entry more than there are features.
    """

    firings_F: IntArray
    alive_F: BoolArray
    best_F: IntArray
    best_r_F: FloatArray
    mutual_F: BoolArray
    partner_F: IntArray
    r_F: FloatArray
    multiple_r_F: FloatArray
    starts_F: IntArray
    parts_P: IntArray

    def parts(self, feature: int) -> IntArray:
        """Features of the other model that a feature is the sum of, ascending."""
        return self.parts_P[self.starts_F[feature] : self.starts_F[feature + 1]]
