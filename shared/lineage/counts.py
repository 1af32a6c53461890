"""How many features of an edge persist, split, merge, disappear and emerge; and the three shares.

The match stage counts an edge with it, and the API the same edge at another threshold.
F: features of one side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.arrays import BoolArray, FloatArray
from shared.lineage.shares import RULES, ratio
from shared.lineage.statuses import STATUSES

PERSIST = ("persist", "persist_any", "persist_mutual")  # numbers of which RULES are shares
PARENT_FATES = ("persist", "disappear", "split", "merge")  # one of each live parent's feature
CHILD_FATES = ("persist", "emerge", "split_child", "merge_child")  # and of each live child's


@dataclass(frozen=True)
class SideCounts:
    """What is counted on one side of an edge.

    `statuses` has the number of features by status; `any` the number of those whose best r reaches
    the threshold, `mutual` of those that are the best of their best as well.
    """

    statuses: Mapping[str, int]
    any: int
    mutual: int

    @classmethod
    def of(
        cls,
        status_F: npt.NDArray[np.str_],
        best_r_F: FloatArray,
        mutual_F: BoolArray,
        threshold: float,
    ) -> SideCounts:
        """Counts of a side; best_r_F is NaN where a feature has no partner."""
        statuses = {str(name): int((status_F == name).sum()) for name in STATUSES}
        return cls(statuses, int((best_r_F >= threshold).sum()), int(mutual_F.sum()))

    @property
    def alive(self) -> int:
        """Features that fire often enough, whatever became of them."""
        return sum(number for name, number in self.statuses.items() if name != "rare")


def edge_counts(parent: SideCounts, child: SideCounts) -> dict[str, int | float | None]:
    """Counts and shares under the names of the match stage's results; a share of none is None."""
    counts = {
        "alive_parent": parent.alive,
        "alive_child": child.alive,
        "persist": parent.statuses["persist"],
        "disappear": parent.statuses["disappear"],
        "emerge": child.statuses["emerge"],
        "split": parent.statuses["split"],
        "merge": parent.statuses["merge"],
        "split_child": child.statuses["split"],
        "merge_child": child.statuses["merge"],
        "persist_any": parent.any,
        "persist_any_child": child.any,
        "persist_mutual": parent.mutual,
    }
    names = zip(RULES, PERSIST, strict=True)
    return {**counts, **{rule: ratio(counts[name], parent.alive) for rule, name in names}}
