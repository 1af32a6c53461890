"""What became of each feature on an edge: persist, split, merge, disappear, emerge or rare.

Pure arrays in and out: the match stage computes an edge with it, and the API the same edge at
another threshold. F: features of the parent, G: of the child, P: parts of all features of a side.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from shared.arrays import BoolArray, IntArray
from shared.lineage.side import Side

# Every status there is, in the order in which tables and figures show them.
Status = Literal["persist", "split", "merge", "disappear", "emerge", "rare"]
STATUSES: tuple[Status, ...] = get_args(Status)


def alive(firings_F: IntArray, min_firings: int) -> BoolArray:
    """Which features [F] fire often enough to be told from chance, and at least once."""
    return np.asarray(firings_F >= max(1, min_firings))


def statuses(
    threshold: float, parent: Side, child: Side
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    """Status of every feature of the parent [F] and of the child [G].

    persist: has a match. split: a parent without one whose parts, none of them matched, together
    correlate at r >= threshold; and those parts. merge: the same with a child as the whole.
    Otherwise disappear (parent) or emerge (child); rare where not alive. Where several hold, the
    first in the order persist, split, merge counts.
    """
    whole_split_F, part_split_G = _wholes(threshold, parent, child)
    whole_merge_G, part_merge_F = _wholes(threshold, child, parent)
    return (
        _named(parent, whole_split_F, part_merge_F, "disappear"),
        _named(child, part_split_G, whole_merge_G, "emerge"),
    )


def _wholes(threshold: float, whole: Side, part: Side) -> tuple[BoolArray, BoolArray]:
    """Which features of one side are sums of unmatched ones of the other, and which those are."""
    counts_F = np.diff(whole.starts_F)
    owner_P = np.repeat(np.arange(len(counts_F)), counts_F)
    matched_F = np.zeros(len(counts_F), bool)  # one of the parts has a match of its own
    matched_F[owner_P[part.partner_F[whole.parts_P] >= 0]] = True
    with np.errstate(invalid="ignore"):
        high_F = whole.multiple_r_F >= threshold
    is_whole_F = whole.alive_F & (whole.partner_F < 0) & high_F & ~matched_F & (counts_F >= 2)
    is_part_G = np.zeros(len(part.partner_F), bool)
    is_part_G[whole.parts_P[is_whole_F[owner_P]]] = True
    return is_whole_F, is_part_G


def _named(
    side: Side, split_F: BoolArray, merge_F: BoolArray, unmatched: str
) -> npt.NDArray[np.str_]:
    return np.select(
        [side.partner_F >= 0, split_F, merge_F, side.alive_F],
        ["persist", "split", "merge", unmatched],
        "rare",
    )
