"""CSV tables of edges: all numbers in one row, curves over thresholds, histograms of best r."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.analyzer.report.histograms import bins
from services.analyzer.report.tables.registry import Row, Source, Table, ends

APART = ("best_r", "curve", "scaling", "cosine")  # not one number each


def tables(source: Source) -> Iterator[Table]:
    """Four tables: edges.csv, ancestors.csv, curve.csv and best_r.csv."""
    yield Table("edges", edges(source.results["edges"]))
    yield Table("ancestors", edges(source.results["ancestors"]))
    yield Table("curve", curve(source.results))
    yield Table("best_r", best_r(source.results))


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
    """The values with every interval in two columns."""
    found: Row = {}
    for key, value in values.items():
        if "interval" in key:
            found |= ends(key, value)
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
