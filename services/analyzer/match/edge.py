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
from shared.arrays import FloatArray
from shared.lineage.best_r import best_r_histogram
from shared.lineage.counts import edge_counts
from shared.lineage.side import Side
from shared.lineage.statuses import statuses


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


def table(side: Side, status: npt.NDArray[np.str_], extras: Extras) -> pa.Table:
    """One row per feature; NaN is null."""

    def numbers(values: FloatArray) -> pa.Array:
        return pa.array(values, pa.float64(), from_pandas=True)

    parts = pa.ListArray.from_arrays(
        pa.array(side.starts_F, pa.int32()), pa.array(side.parts_P, pa.int32())
    )
    return pa.table(
        {
            "feature": pa.array(np.arange(len(side.firings_F)), pa.int32()),
            "firings": pa.array(side.firings_F, pa.int64()),
            "best": pa.array(side.best_F, pa.int32()),
            "best_r": numbers(side.best_r_F),
            "mutual": pa.array(side.mutual_F, pa.bool_()),
            "match": pa.array(side.partner_F, pa.int32()),
            "match_r": numbers(side.r_F),
            "cosine": numbers(extras.cosine),
            "p": numbers(extras.p),
            "q": numbers(extras.q),
            "multiple_r": numbers(side.multiple_r_F),
            "parts": parts,
            "status": pa.array(status.tolist(), pa.string()),
        }
    )


@dataclass(frozen=True)
class EdgeMatches:
    """The matches of both sides, and the pairs of live features with r from the lowest floor on."""

    parent: Side
    child: Side
    pairs: Pairs

    def statuses(self, threshold: float) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
        """Statuses of the parent's features [F] and the child's [G]: shared.lineage.statuses."""
        return statuses(threshold, self.parent, self.child)

    def counts(self, threshold: float) -> dict[str, Any]:
        """Results at the threshold of the matches; a share of no features is None."""
        return {
            **edge_counts(threshold, self.parent, self.child),
            "best_r_parent": best_r_histogram(self.parent.best_r_F[self.parent.alive_F]),
            "best_r_child": best_r_histogram(self.child.best_r_F[self.child.alive_F]),
        }
