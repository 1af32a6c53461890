"""Matches of two models' codes: from a search over all pairs to partners, parts and statuses.

F: features of the parent, G: of the child.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.correlate import Found
from services.analyzer.codes.standardise import Standardised, chunk_bounds
from services.analyzer.match.edge import EdgeMatches, SideMatches
from services.analyzer.match.parts import FLOOR, find_parts
from shared.lineage.assignment import matches_at, mutual_at
from shared.lineage.statuses import alive


def lowest_floor(floor: float, threshold: float) -> float:
    """Candidates are needed from here on: for matches, the curve, parts and the bootstrap."""
    return min(floor, threshold, FLOOR)


def edge_of(
    parent: Codes, child: Codes, found: Found, threshold: float, min_firings: int, most: int
) -> EdgeMatches:
    """The edge that a search among live features makes.

    `most` is the number of features that one may be a sum of (see MatchParameters.parts).
    """
    pairs = found.pairs
    chosen = matches_at(threshold, pairs.parent_Z, pairs.child_Z, pairs.r_Z)
    match_F, match_r_F = np.full(parent.width, -1), np.full(parent.width, np.nan)
    match_G, match_r_G = np.full(child.width, -1), np.full(child.width, np.nan)
    match_F[pairs.parent_Z[chosen]] = pairs.child_Z[chosen]
    match_G[pairs.child_Z[chosen]] = pairs.parent_Z[chosen]
    match_r_F[pairs.parent_Z[chosen]] = match_r_G[pairs.child_Z[chosen]] = pairs.r_Z[chosen]
    mutual_F = mutual_at(threshold, found.best_F, found.best_r_F, found.best_G)
    mutual_G = mutual_at(threshold, found.best_G, found.best_r_G, found.best_F)
    bounds = chunk_bounds(parent, child, None)

    @cache
    def sides() -> tuple[Standardised, Standardised]:
        return (
            Standardised(parent, bounds, alive(parent.firings, min_firings), columns=True),
            Standardised(child, bounds, alive(child.firings, min_firings), columns=True),
        )

    of_parent = find_parts(found.best_r_F, (pairs.parent_Z, pairs.child_Z, pairs.r_Z), sides, most)
    of_child = find_parts(
        found.best_r_G,
        (pairs.child_Z, pairs.parent_Z, pairs.r_Z),
        lambda: (sides()[1], sides()[0]),
        most,
    )
    return EdgeMatches(
        SideMatches(
            parent.firings, found.best_F, found.best_r_F, mutual_F, match_F, match_r_F,
            of_parent, min_firings,
        ),
        SideMatches(
            child.firings, found.best_G, found.best_r_G, mutual_G, match_G, match_r_G,
            of_child, min_firings,
        ),
        pairs,
    )  # fmt: skip
