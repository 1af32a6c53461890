"""CSV table of models: loss and accuracy on every corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.analyzer.report.tables.registry import Row, Source, Table


def tables(source: Source) -> Iterator[Table]:
    """One table, models.csv."""
    yield Table("models", models(source.results))


def models(results: Mapping[str, Any]) -> list[Row]:
    """One row for each model and corpus; the untrained base lines have trained = 0."""
    rows = []
    for trained, group in ((1, results["models"]), (0, results["untrained"])):
        for name, values in group.items():
            model = results["models"][name]
            for corpus, measured in values["corpora"].items():
                rows.append(
                    {
                        "model": name,
                        "trained": trained,
                        "kind": model["kind"],
                        "parents": " ".join(model["parents"]),
                        "parameters": model["parameters"],
                        "corpus": corpus,
                        "loss": measured["loss"],
                        "accuracy": measured["accuracy"],
                    }
                )
    return rows
