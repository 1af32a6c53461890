"""CSV tables of merges, checkpoints, stability grids and crosscoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Row = dict[str, Any]


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


def stability(results: Mapping[str, Any]) -> list[Row]:
    """One row for each cell of each grid; recommended is 1 for the cell to use."""
    return [
        {
            "grid": name,
            "cell": number,
            **{key: cell[key] for key in cell if key != "interval"},
            "ceiling_low": (cell["interval"] or (None, None))[0],
            "ceiling_high": (cell["interval"] or (None, None))[1],
            "recommended": int(number == values["recommended"]),
        }
        for name, values in results["stability"].items()
        for number, cell in enumerate(values["cells"])
    ]


def crosscoders(results: Mapping[str, Any]) -> list[Row]:
    """One row for each pair of models of each group, kinds of features in columns."""
    apart = ("kinds", "kinds_shares", "relative_norm")
    return [
        {
            "group": group,
            **{key: pair[key] for key in pair if key not in apart},
            **{f"kind_{kind}": number for kind, number in pair["kinds"].items()},
        }
        for group, pairs in results["crosscoders"].items()
        for pair in pairs.values()
    ]
