"""How well the parent's explanations predict the child's features along an edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.lineage.explanations.scores import MAIN

Values = dict[str, Any]

SIDES = ("persist", "disappear")
"""The matches of features that persist, and the closest features to those without a match."""

CROSS = (
    "features",
    MAIN.column,
    "cross",
    "interval",
    "difference",
    "difference_interval",
)
"""What is known of a side (see ExplainEdgeParameters)."""


def sides(results: Mapping[str, Any]) -> dict[str, Values | None]:
    """Both sides of an edge, from the results of its explain_edge stage; None of no features."""
    return {side: _cross(results.get(side)) for side in SIDES}


def _cross(values: Mapping[str, Any] | None) -> Values | None:
    return None if not values else {name: values.get(name) for name in CROSS}


def reading(of_edge: Mapping[str, Values | None]) -> str | None:
    """The side of an edge on which explanations lose less (score - cross).

    "apart" (less on matches), "reversed", or "open" (the intervals overlap); None where a side or
    its interval is missing. Losses are compared, so that it does not matter whose features are
    easier to explain.
    """
    lost: Sequence[Any] = [(of_edge[side] or {}).get("difference_interval") for side in SIDES]
    if not all(lost):
        return None
    (low, high), (low_other, high_other) = lost
    if high < low_other:
        return "apart"
    return "reversed" if low > high_other else "open"
