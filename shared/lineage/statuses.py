"""What became of each feature on an edge: persist, split, merge, disappear, emerge or rare.

Pure arrays in and out: the match stage computes an edge with it, and the API the same edge at
another threshold. F: features of the parent, G: of the child, P: parts of all features of a side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from shared.arrays import BoolArray, FloatArray, IntArray

# Every status there is, in the order in which tables and figures show them.
Status = Literal["persist", "split", "merge", "disappear", "emerge", "rare"]
STATUSES: tuple[Status, ...] = get_args(Status)


def alive(firings_F: IntArray, min_firings: int) -> BoolArray:
    """Which features [F] fire often enough to be told from chance, and at least once."""
    return np.asarray(firings_F >= max(1, min_firings))


@dataclass(frozen=True)
class Fates:
    """One side of an edge, one entry per feature.

    alive_F: fires often enough to tell; match_F: one-to-one partner at the threshold (-1: none);
    multiple_r_F: correlation with its parts together (NaN: fewer than two); the parts of feature f
    are parts_P[starts_F[f] : starts_F[f + 1]], features of the other side (starts_F: [F + 1]).
    """

    alive_F: BoolArray
    match_F: IntArray
    multiple_r_F: FloatArray
    starts_F: IntArray
    parts_P: IntArray


def statuses(
    threshold: float, parent: Fates, child: Fates
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


def _wholes(threshold: float, whole: Fates, part: Fates) -> tuple[BoolArray, BoolArray]:
    """Which features of one side are sums of unmatched ones of the other, and which those are."""
    counts_F = np.diff(whole.starts_F)
    owner_P = np.repeat(np.arange(len(counts_F)), counts_F)
    matched_F = np.zeros(len(counts_F), bool)  # one of the parts has a match of its own
    matched_F[owner_P[part.match_F[whole.parts_P] >= 0]] = True
    with np.errstate(invalid="ignore"):
        high_F = whole.multiple_r_F >= threshold
    is_whole_F = whole.alive_F & (whole.match_F < 0) & high_F & ~matched_F & (counts_F >= 2)
    is_part_G = np.zeros(len(part.match_F), bool)
    is_part_G[whole.parts_P[is_whole_F[owner_P]]] = True
    return is_whole_F, is_part_G


def _named(
    side: Fates, split_F: BoolArray, merge_F: BoolArray, unmatched: str
) -> npt.NDArray[np.str_]:
    return np.select(
        [side.match_F >= 0, split_F, merge_F, side.alive_F],
        ["persist", "split", "merge", unmatched],
        "rare",
    )
