"""CSV table of sweeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.analyzer.report.tables.registry import Row, Source, Table


def tables(source: Source) -> Iterator[Table]:
    """One table, sweeps.csv."""
    yield Table("sweeps", sweeps(source.results))


def sweeps(results: Mapping[str, Any]) -> list[Row]:
    """One row for each point and corpus of a sweep, with the reference model's values."""
    rows = []
    for name, sweep in results["sweeps"].items():
        reference = sweep["reference"] or {"model": "", "corpora": {}}
        for point in sweep["points"]:
            for corpus, measured in point["corpora"].items():
                base = reference["corpora"].get(corpus, {})
                rows.append(
                    {
                        "sweep": name,
                        "at_zero": sweep["at_zero"],
                        "at_one": sweep["at_one"],
                        "t": point["t"],
                        "corpus": corpus,
                        "loss": measured["loss"],
                        "accuracy": measured["accuracy"],
                        "reference": reference["model"],
                        "reference_loss": base.get("loss", ""),
                        "reference_accuracy": base.get("accuracy", ""),
                    }
                )
    return rows
