"""CSV table of crosscoders."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.analyzer.report.tables.registry import Row, Source, Table


def tables(source: Source) -> Iterator[Table]:
    """One table, crosscoders.csv."""
    yield Table("crosscoders", crosscoders(source.results))


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
