"""The null control: what matches are left when the child's text is moved along the stream.

Documents are rolled within each corpus, so that a feature still meets text of its own kind and
whole documents, but never the same tokens. C: corpora, T: token positions, F: features of the
parent, G: of the child, S: shifts, H: thresholds of the curve.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.correlate import search
from services.analyzer.match.memo import Arrays
from services.analyzer.match.shares import THRESHOLDS, counts_at, curve
from shared.arrays import BoolArray, FloatArray
from shared.lineage.shares import RULES

Spans = list[tuple[int, int]]


@dataclass(frozen=True)
class Shift:
    """A rearrangement of the stream: spans of tokens in their new order, and tokens moved by."""

    spans: Spans
    tokens: int

    @property
    def stays(self) -> bool:
        """True when no token changes its place."""
        return all(start == stop for start, stop in self.spans[::2]) or all(
            start == stop for start, stop in self.spans[1::2]
        )


def shift_of(
    number: int, shifts: int, documents_T: npt.NDArray[np.int32], corpora_C: Sequence[int]
) -> Shift:
    """Shift number 1 .. `shifts`: each corpus by about number / (shifts + 1) of its tokens.

    The cut is where a document ends; in the middle of one only where no end lies within half a
    step, for then two shifts could be the same. `tokens` sums over the corpora.
    """
    spans: Spans = []
    moved = 0
    for start, stop in pairwise(np.cumsum([0, *corpora_C]).tolist()):
        step = (stop - start) / (shifts + 1)
        cut = stop - round(number * step)
        begins = start + 1 + np.flatnonzero(np.diff(documents_T[start:stop]))
        if len(begins):
            nearest = int(begins[np.argmin(np.abs(begins - cut))])
            cut = nearest if abs(nearest - cut) <= step / 2 else cut
        spans += [(cut, stop), (start, cut)]
        moved += stop - cut
    return Shift(spans, moved)


def shifted(
    parent: Codes,
    child: Codes,
    shift: Shift,
    alive: tuple[BoolArray, BoolArray],
    threshold: float,
    watch: Callable[[int, int], None] = lambda *_: None,
) -> Arrays:
    """Matches with the child's stream rearranged.

    best_r_F and best_r_G: highest r of every feature, 0 where none is positive; share .. at the
    threshold [1] and curve_share .. [H], by each rule.
    """
    moved = child.rearranged(shift.spans)
    found = search(parent, moved, min(threshold, THRESHOLDS[0]), *alive, watch=watch)
    live = int(alive[0].sum())
    at_threshold = counts_at(threshold, found.pairs).shares(live)
    along = curve(found.pairs, live)
    return {
        "best_r_F": np.nan_to_num(found.best_r_F),
        "best_r_G": np.nan_to_num(found.best_r_G),
        **{name: np.array([at_threshold[name]], np.float64) for name in RULES},
        **{f"curve_{name}": along[name] for name in RULES},
    }


@dataclass(frozen=True)
class Null:
    """The shifts of an edge, and what `shifted` found under each."""

    shifts: Sequence[Shift]
    found: Sequence[Arrays]

    def best_r(self, side: str) -> FloatArray:
        """Highest r of every feature under every shift: "F" the parent's, "G" the child's."""
        best_r: FloatArray = np.stack([arrays[f"best_r_{side}"] for arrays in self.found])
        return best_r

    def results(self) -> dict[str, Any]:
        """Mean shares at the threshold (None of no features) and the shifts in tokens."""
        means = {name: self._mean(name)[0] for name in RULES}
        return {
            **{name: None if np.isnan(mean) else float(mean) for name, mean in means.items()},
            "shifts": [shift.tokens for shift in self.shifts],
        }

    def curve(self) -> dict[str, FloatArray]:
        """Mean shares at the thresholds of the curve, by the names of RULES; NaN of none."""
        return {name: self._mean(f"curve_{name}") for name in RULES}

    def _mean(self, name: str) -> FloatArray:
        mean: FloatArray = np.mean([arrays[name] for arrays in self.found], axis=0)
        return mean
