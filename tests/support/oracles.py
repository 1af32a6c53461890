"""Whole answers in one call, against which the stages' own are held.

T: token positions, F: features of the parent, G: of the child.
"""

from __future__ import annotations

import numpy as np

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.correlate import _blocks, _product, _sides, search
from services.analyzer.match.edge import EdgeMatches
from services.analyzer.match.pairing import edge_of, lowest_floor
from shared.arrays import FloatArray
from shared.lineage.statuses import alive
from shared.stages.analyzer import MatchParameters


def pearson(
    parent: Codes, child: Codes, chunk: int | None = None, rows: int | None = None
) -> FloatArray:
    """Correlations [F, G] of all pairs, NaN where a feature is constant.

    They are made of the products that `search` makes its own of, so that these can be held against
    numpy. `chunk` tokens and `rows` parent features are worked on at a time. Raises ValueError when
    the two streams differ in length.
    """
    left, right = _sides(parent, child, None, None, chunk)
    r_FG = np.empty((parent.width, child.width))
    for start, stop in _blocks(left, right, rows):
        product = _product(left, right, start, stop).toarray()
        r_FG[start:stop] = product - np.outer(left.offset_F[start:stop], right.offset_F)
    np.clip(r_FG, -1, 1, out=r_FG)
    r_FG[left.scale_F == 0] = np.nan
    r_FG[:, right.scale_F == 0] = np.nan
    return r_FG


def match_codes(
    parent: Codes, child: Codes, threshold: float, min_firings: int, parts: int = 4
) -> EdgeMatches:
    """The live features of two models, matched as the stage matches them."""
    floor = MatchParameters(threshold=threshold, min_firings=min_firings).floor
    live = alive(parent.firings, min_firings), alive(child.firings, min_firings)
    found = search(parent, child, lowest_floor(floor, threshold), *live)
    return edge_of(parent, child, found, threshold, min_firings, parts)
