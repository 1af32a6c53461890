"""CSV tables of what follows from several edges: merges, what comes back, runs of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.analyzer.report.tables.registry import Row, Source, Table


def tables(source: Source) -> Iterator[Table]:
    """Three tables: merges.csv, regained.csv and training.csv."""
    yield Table("merges", merges(source.results))
    yield Table("regained", source.results["regained"])
    yield Table("training", training(source.results))


def merges(results: Mapping[str, Any]) -> list[Row]:
    """One row for each merge; the first parent is the one at t = 0."""
    rows = []
    for merge in results["merges"]:
        row = {key: merge[key] for key in merge if key != "parents"}
        for end, parent in zip(("at_zero", "at_one"), merge["parents"], strict=True):
            row |= {end: parent["model"], f"only_{end}": parent["only"]}
            row[f"only_{end}_share"] = parent["only_share"]
        rows.append(row)
    return rows


def training(results: Mapping[str, Any]) -> list[Row]:
    """One row for each checkpoint of each run of training."""
    return [
        {"tracking": run["tracking"], "run": run["run"], **point}
        for run in results["along"]
        for point in run["points"]
    ]
