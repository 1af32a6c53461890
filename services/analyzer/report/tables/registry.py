"""Writes the CSV tables: everything that the figures show, and the fate of every feature.

Every other module of this folder has the tables of one part of results.json: its function `tables`
yields them. None is named anywhere else.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from shared.stages.stage import Input

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows under the name of a file.

    A table with `columns` is written as its rows are read, and is there even without rows. Others
    get the union of their rows' columns, in the order in which they first come; without rows they
    are left out.
    """

    name: str
    rows: Iterable[Mapping[str, Any]]
    columns: Sequence[str] | None = None


@dataclass(frozen=True)
class Source:
    """What tables are made from: results.json and, for those of every feature, the inputs."""

    results: Mapping[str, Any]
    inputs: Mapping[str, Input]


@cache
def table_functions() -> tuple[Callable[[Source], Iterator[Table]], ...]:
    """The function `tables` of every other module of this folder."""
    here = Path(__file__)
    names = {path.stem for path in here.parent.glob("*.py")} - {"__init__", here.stem}
    return tuple(import_module(f"{__package__}.{name}").tables for name in sorted(names))


def write(results: Mapping[str, Any], inputs: Mapping[str, Input], directory: Path) -> None:
    """Write all tables into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    source = Source(results, inputs)
    for tables in table_functions():
        for table in tables(source):
            _write(table, directory)


def _write(table: Table, directory: Path) -> None:
    rows, columns = table.rows, table.columns
    if columns is None:
        rows = list(rows)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        if not rows:
            return
    with (directory / f"{table.name}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def ends(name: str, interval: Sequence[float] | None) -> Row:
    """An interval in two columns that end in _low and _high; empty where there is none."""
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
