"""CSV tables of dictionaries: their health, and how often their features fire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.analyzer.report.histograms import bins
from services.analyzer.report.tables.registry import Row, Source, Table


def tables(source: Source) -> Iterator[Table]:
    """Two tables, dictionaries.csv and densities.csv."""
    yield Table("dictionaries", dictionaries(source.results))
    yield Table("densities", densities(source.results))


def dictionaries(results: Mapping[str, Any]) -> list[Row]:
    """One row for each dictionary, its histogram left to `densities`."""
    return [
        {"model": name, **{key: entry[key] for key in entry if key != "density_histogram"}}
        for name, entries in results["dictionaries"].items()
        for entry in entries
    ]


def densities(results: Mapping[str, Any]) -> list[Row]:
    """One row for each bin of each dictionary's histogram of log10 firing density."""
    return [
        {
            "model": name,
            **{key: entry[key] for key in ("group", "replicate", "seed")},
            "log10_from": low,
            "log10_to": high,
            "features": features_,
        }
        for name, entries in results["dictionaries"].items()
        for entry in entries
        if entry["density_histogram"]
        for low, high, features_ in bins(entry["density_histogram"])
    ]
