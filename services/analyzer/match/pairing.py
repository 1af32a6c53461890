"""Matches of two models' codes: from a search over all pairs to partners, parts and statuses.

F: features of the parent, G: of the child.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.correlate import Partners
from services.analyzer.codes.standardise import Standardised, chunk_bounds
from services.analyzer.match.edge import EdgeMatches, SideMatches
from services.analyzer.match.parts import FLOOR, find_parts
from shared.lineage.assignment import matches_at, mutual_at
from shared.lineage.statuses import alive


def lowest_floor(floor: float, threshold: float) -> float:
    """The lowest r of a candidate that matches, the curve, parts or the bootstrap need."""
    return min(floor, threshold, FLOOR)


def edge_of(
    parent: Codes, child: Codes, partners: Partners, threshold: float, min_firings: int, most: int
) -> EdgeMatches:
    """The edge that follows from a search among live features.

    `most` is the number of features that one may be a sum of (see `parts` of MatchParameters).
    """
    pairs = partners.pairs
    parent_Z, child_Z, r_Z = pairs.parent_Z, pairs.child_Z, pairs.r_Z
    chosen = matches_at(threshold, parent_Z, child_Z, r_Z)
    match_F, match_r_F = np.full(parent.width, -1), np.full(parent.width, np.nan)
    match_G, match_r_G = np.full(child.width, -1), np.full(child.width, np.nan)
    match_F[parent_Z[chosen]] = child_Z[chosen]
    match_G[child_Z[chosen]] = parent_Z[chosen]
    match_r_F[parent_Z[chosen]] = match_r_G[child_Z[chosen]] = r_Z[chosen]
    mutual_F = mutual_at(threshold, partners.best_F, partners.best_r_F, partners.best_G)
    mutual_G = mutual_at(threshold, partners.best_G, partners.best_r_G, partners.best_F)
    bounds = chunk_bounds(parent, child, None)

    @cache
    def sides() -> tuple[Standardised, Standardised]:
        return (
            Standardised(parent, bounds, alive(parent.firings, min_firings), columns=True),
            Standardised(child, bounds, alive(child.firings, min_firings), columns=True),
        )

    of_parent = find_parts(partners.best_r_F, (parent_Z, child_Z, r_Z), sides, most)
    of_child = find_parts(
        partners.best_r_G, (child_Z, parent_Z, r_Z), lambda: (sides()[1], sides()[0]), most
    )
    return EdgeMatches(
        SideMatches(
            parent.firings, partners.best_F, partners.best_r_F, mutual_F, match_F, match_r_F,
            of_parent, min_firings,
        ),
        SideMatches(
            child.firings, partners.best_G, partners.best_r_G, mutual_G, match_G, match_r_G,
            of_child, min_firings,
        ),
        pairs,
    )  # fmt: skip
