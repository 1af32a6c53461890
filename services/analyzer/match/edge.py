"""An edge: the features of both models, with their partners by every rule, parts and statuses.

F: features of one side (or of the parent), G: of the child, E: candidate pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from services.analyzer.codes.correlate import Pairs
from services.analyzer.match.parts import Parts
from shared.arrays import BoolArray, FloatArray, IntArray
from shared.lineage.best_r import best_r_histogram
from shared.lineage.counts import SideCounts, edge_counts
from shared.lineage.statuses import Fates, alive, statuses


@dataclass(frozen=True)
class SideMatches:
    """One model's features on an edge; arrays have one entry per feature.

    best: the partner with the highest positive r among the other model's live features (-1: none,
    or the feature itself is rare), best_r its r (NaN where best is -1); mutual: each is the other's
    best, and r >= threshold; match, match_r: the one-to-one partner at r >= threshold (-1, NaN);
    parts: what the feature is a sum of.
    """

    firings: IntArray
    best: IntArray
    best_r: FloatArray
    mutual: BoolArray
    match: IntArray
    match_r: FloatArray
    parts: Parts
    min_firings: int

    @property
    def alive(self) -> BoolArray:
        """Features that fire often enough to be told from chance."""
        return alive(self.firings, self.min_firings)

    def fates(self) -> Fates:
        """What the statuses are derived from."""
        parts = self.parts
        return Fates(self.alive, self.match, parts.multiple_r_F, parts.starts_F, parts.parts_P)


@dataclass(frozen=True)
class Extras:
    """Columns that need more than one correlation; NaN throughout where they were not computed."""

    cosine: FloatArray
    p: FloatArray
    q: FloatArray

    @classmethod
    def none(cls, features: int) -> Extras:
        """The columns of features for which nothing was computed."""
        return cls(*(np.full(features, np.nan) for _ in range(3)))


def table(side: SideMatches, status: npt.NDArray[np.str_], extras: Extras) -> pa.Table:
    """One row per feature; NaN is null."""

    def numbers(values: FloatArray) -> pa.Array:
        return pa.array(values, pa.float64(), from_pandas=True)

    parts = pa.ListArray.from_arrays(
        pa.array(side.parts.starts_F, pa.int32()), pa.array(side.parts.parts_P, pa.int32())
    )
    return pa.table(
        {
            "feature": pa.array(np.arange(len(side.firings)), pa.int32()),
            "firings": pa.array(side.firings, pa.int64()),
            "best": pa.array(side.best, pa.int32()),
            "best_r": numbers(side.best_r),
            "mutual": pa.array(side.mutual, pa.bool_()),
            "match": pa.array(side.match, pa.int32()),
            "match_r": numbers(side.match_r),
            "cosine": numbers(extras.cosine),
            "p": numbers(extras.p),
            "q": numbers(extras.q),
            "multiple_r": numbers(side.parts.multiple_r_F),
            "parts": parts,
            "status": pa.array(status.tolist(), pa.string()),
        }
    )


@dataclass(frozen=True)
class EdgeMatches:
    """The matches of both sides, and the pairs of live features with r from the lowest floor on."""

    parent: SideMatches
    child: SideMatches
    pairs: Pairs

    def statuses(self, threshold: float) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
        """Statuses of the parent's features [F] and the child's [G]: shared.lineage.statuses."""
        return statuses(threshold, self.parent.fates(), self.child.fates())

    def counts(self, threshold: float) -> dict[str, Any]:
        """Results at the threshold of the matches; a share of no features is None."""
        sides = zip((self.parent, self.child), self.statuses(threshold), strict=True)
        parent, child = (
            SideCounts.of(status, side.best_r, side.mutual, threshold) for side, status in sides
        )
        return {
            **edge_counts(parent, child),
            "best_r_parent": best_r_histogram(self.parent.best_r[self.parent.alive]),
            "best_r_child": best_r_histogram(self.child.best_r[self.child.alive]),
        }
