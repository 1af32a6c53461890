"""The null control: which matches remain when the child's text is moved along the stream.

Documents are rolled within each corpus, so that a feature still sees text of its own kind and
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
    """A rearrangement of the stream: spans of tokens in their new order, and the length moved."""

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

    The cut is where a document ends, or in the middle of one if no document ends within half a
    step: beyond that, two shifts could be the same. `tokens` is the sum over the corpora.
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
    """Matches with the child's stream rearranged, as named arrays.

    best_r_F and best_r_G: the highest r of every feature, 0 where none is positive; share .. [1]
    and curve_share .. [H]: shares by each rule, at the threshold and along the curve.
    """
    moved = child.rearranged(shift.spans)
    partners = search(parent, moved, min(threshold, THRESHOLDS[0]), *alive, watch=watch)
    live = int(alive[0].sum())
    at_threshold = counts_at(threshold, partners.pairs).shares(live)
    along = curve(partners.pairs, live)
    return {
        "best_r_F": np.nan_to_num(partners.best_r_F),
        "best_r_G": np.nan_to_num(partners.best_r_G),
        **{name: np.array([at_threshold[name]], np.float64) for name in RULES},
        **{f"curve_{name}": along[name] for name in RULES},
    }


@dataclass(frozen=True)
class Null:
    """The shifts of an edge, and the matches under each (see `shifted`)."""

    shifts: Sequence[Shift]
    matches: Sequence[Arrays]

    def best_r(self, side: str) -> FloatArray:
        """Highest r of every feature under every shift: [S, F] of side "F" (parent), or [S, G]."""
        best_r: FloatArray = np.stack([arrays[f"best_r_{side}"] for arrays in self.matches])
        return best_r

    def results(self) -> dict[str, Any]:
        """Mean shares at the threshold (None without live features) and the shifts in tokens."""
        means = {name: self._mean(name)[0] for name in RULES}
        return {
            **{name: None if np.isnan(mean) else float(mean) for name, mean in means.items()},
            "shifts": [shift.tokens for shift in self.shifts],
        }

    def curve(self) -> dict[str, FloatArray]:
        """Mean shares [H] at the thresholds of the curve, by RULES; NaN without live features."""
        return {name: self._mean(f"curve_{name}") for name in RULES}

    def _mean(self, name: str) -> FloatArray:
        mean: FloatArray = np.mean([arrays[name] for arrays in self.matches], axis=0)
        return mean
