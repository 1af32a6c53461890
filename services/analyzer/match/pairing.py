"""Matches of two models' codes: from a search over all pairs to partners, parts and statuses.

F: features of the parent, G: of the child, E: one-to-one matches.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import cache

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.correlate import Found
from services.analyzer.codes.standardise import Standardised, chunk_bounds
from services.analyzer.match.edge import EdgeMatches
from services.analyzer.match.parts import FLOOR, find_parts
from shared.lineage.assignment import matches_at, mutual_at, partners
from shared.lineage.side import Side
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
    parent_E, child_E, r_E = pairs.parent_Z[chosen], pairs.child_Z[chosen], pairs.r_Z[chosen]
    live_F, live_G = alive(parent.firings, min_firings), alive(child.firings, min_firings)
    bounds = chunk_bounds(parent, child, None)

    @cache
    def sides() -> tuple[Standardised, Standardised]:
        return (
            Standardised(parent, bounds, live_F, columns=True),
            Standardised(child, bounds, live_G, columns=True),
        )

    of_parent = find_parts(found.best_r_F, (pairs.parent_Z, pairs.child_Z, pairs.r_Z), sides, most)
    of_child = find_parts(
        found.best_r_G,
        (pairs.child_Z, pairs.parent_Z, pairs.r_Z),
        lambda: (sides()[1], sides()[0]),
        most,
    )
    partner_F, r_F = partners(parent.width, parent_E, child_E, r_E)
    partner_G, r_G = partners(child.width, child_E, parent_E, r_E)
    mutual_F = mutual_at(threshold, found.best_F, found.best_r_F, found.best_G)
    mutual_G = mutual_at(threshold, found.best_G, found.best_r_G, found.best_F)
    return EdgeMatches(
        Side(
            firings_F=parent.firings,
            alive_F=live_F,
            best_F=found.best_F,
            best_r_F=found.best_r_F,
            mutual_F=mutual_F,
            partner_F=partner_F,
            r_F=r_F,
            **asdict(of_parent),
        ),
        Side(
            firings_F=child.firings,
            alive_F=live_G,
            best_F=found.best_G,
            best_r_F=found.best_r_G,
            mutual_F=mutual_G,
            partner_F=partner_G,
            r_F=r_G,
            **asdict(of_child),
        ),
        pairs,
    )
