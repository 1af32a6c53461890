"""CSV tables of edges: all numbers in one row, curves over thresholds, histograms of best r."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

Row = dict[str, Any]
APART = ("best_r", "curve", "scaling", "cosine")  # not one number each


def edges(found: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row for each edge; an interval becomes two columns that end in _low and _high."""
    return [
        {
            **_flat({key: edge[key] for key in edge if key not in APART}),
            **{f"scaling_{key}": value for key, value in (edge["scaling"] or {}).items()},
            **{f"cosine_{key}": value for key, value in (edge["cosine"] or {}).items()},
        }
        for edge in found
    ]


def _flat(values: Mapping[str, Any]) -> Row:
    """The values with every pair under two names."""
    found: Row = {}
    for key, value in values.items():
        if "interval" in key:
            low, high = value or (None, None)
            found |= {f"{key}_low": low, f"{key}_high": high}
        else:
            found[key] = value
    return found


def curve(results: Mapping[str, Any]) -> list[Row]:
    """One row for each edge (and ancestor) and threshold: shares, null, ceiling, adjusted."""
    return [
        {**{key: edge[key] for key in ("tracking", "parent", "child")}, **point}
        for edge in (*results["edges"], *results["ancestors"])
        for point in edge["curve"]
    ]


def best_r(results: Mapping[str, Any]) -> list[Row]:
    """One row for each bin of the histograms of best r: of an edge, its ceiling and its null."""
    return [
        {
            **{key: edge[key] for key in ("tracking", "parent", "child")},
            "of": which,
            "r_from": low,
            "r_to": high,
            "features": features_,
        }
        for edge in results["edges"]
        for which, histogram in edge["best_r"].items()
        if histogram
        for low, high, features_ in bins(histogram)
    ]


def bins(histogram: Mapping[str, Any]) -> Iterator[tuple[float, float, float]]:
    """Lower edge, upper edge and count of each bin."""
    for (low, high), counted in zip(pairwise(histogram["edges"]), histogram["counts"], strict=True):
        yield low, high, counted
