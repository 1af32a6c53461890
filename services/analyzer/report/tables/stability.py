"""CSV table of grids of dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.analyzer.report.tables.registry import Row, Source, Table, ends


def tables(source: Source) -> Iterator[Table]:
    """One table, stability.csv."""
    yield Table("stability", stability(source.results))


def stability(results: Mapping[str, Any]) -> list[Row]:
    """One row for each cell of each grid; recommended is 1 for the cell to use."""
    return [
        {
            "grid": name,
            "cell": number,
            **{key: cell[key] for key in cell if key != "interval"},
            **ends("ceiling", cell["interval"]),
            "recommended": int(number == values["recommended"]),
        }
        for name, values in results["stability"].items()
        for number, cell in enumerate(values["cells"])
    ]
