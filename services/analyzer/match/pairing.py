"""Matches of two models' codes: from a search over all pairs to partners, parts and statuses.

F: features of the parent, G: of the child, E: one-to-one matches.
"""

from __future__ import annotations

from functools import cache

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.correlate import Partners
from services.analyzer.codes.standardise import Standardised, chunk_bounds
from services.analyzer.match.edge import EdgeMatches
from services.analyzer.match.parts import FLOOR, find_parts
from shared.lineage.assignment import matched, matches_at, mutual_at
from shared.lineage.side import Side
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
    parent_E, child_E, r_E = parent_Z[chosen], child_Z[chosen], r_Z[chosen]
    live_F, live_G = alive(parent.firings, min_firings), alive(child.firings, min_firings)
    bounds = chunk_bounds(parent, child, None)

    @cache
    def sides() -> tuple[Standardised, Standardised]:
        return (
            Standardised(parent, bounds, live_F, columns=True),
            Standardised(child, bounds, live_G, columns=True),
        )

    of_parent = find_parts(partners.best_r_F, (parent_Z, child_Z, r_Z), sides, most)
    of_child = find_parts(
        partners.best_r_G, (child_Z, parent_Z, r_Z), lambda: (sides()[1], sides()[0]), most
    )
    partner_F, r_F = matched(parent.width, parent_E, child_E, r_E)
    partner_G, r_G = matched(child.width, child_E, parent_E, r_E)
    return EdgeMatches(
        Side(
            firings_F=parent.firings,
            alive_F=live_F,
            best_F=partners.best_F,
            best_r_F=partners.best_r_F,
            mutual_F=mutual_at(threshold, partners.best_F, partners.best_r_F, partners.best_G),
            partner_F=partner_F,
            r_F=r_F,
            **vars(of_parent),
        ),
        Side(
            firings_F=child.firings,
            alive_F=live_G,
            best_F=partners.best_G,
            best_r_F=partners.best_r_G,
            mutual_F=mutual_at(threshold, partners.best_G, partners.best_r_G, partners.best_F),
            partner_F=partner_G,
            r_F=r_G,
            **vars(of_child),
        ),
        pairs,
    )
