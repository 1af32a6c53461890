"""Reads what the explain stages wrote: scores of all features, and the rows that are listed.

F: features of one model that were explained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared.arrays import FloatArray
from shared.lineage.explanations import name_corpora
from shared.stages.stage import Input

METHODS = ("rule", "language_model")
STATUSES = ("universal", "persisting", "emerging", "disappearing")
FILE = "explanations.parquet"
COLUMNS = (
    "feature",
    "status",
    "density",
    "explanation",
    "score",
    "detection",
    "fuzzing",
    "failure",
)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Explained:
    """The explanations of one model by one method, in one tracking.

    `scores_F` are those of every feature, NaN where undefined; `rows` the listed ones (COLUMNS),
    ascending by feature.
    """

    tracking: str
    model: str
    method: str
    results: Row
    scores_F: FloatArray
    rows: Sequence[Row]


def sources(
    inputs: Mapping[str, Input], trackings: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str, str, Input]]:
    """Tracking, model, method and artifact of every explain stage, models in their order."""
    for tracking, models in sorted(trackings.items()):
        for model in models:
            for method in METHODS:
                source = inputs.get(f"explain/{tracking}/{method}/{model}")
                if source is not None:
                    yield tracking, model, method, source


def told(row: Row, method: str, corpora: Sequence[str]) -> dict[str, Any]:
    """A stored row as it is told: rules name corpora by the number of the stage's input."""
    words = row["explanation"]
    return {**row, "explanation": name_corpora(words, corpora) if method == "rule" else words}


def read_explained(
    inputs: Mapping[str, Input],
    trackings: Mapping[str, Sequence[str]],
    corpora: Mapping[str, Sequence[str]],
    most: int,
) -> list[Explained]:
    """All explanations, with the names of each tracking's corpora.

    Of rules, which name every feature, `most` of each status are listed. Where a language model
    explained some features too, the rules' rows are those of the same features, so that both can be
    read beside each other.
    """
    found = []
    for tracking, model, method, source in sources(inputs, trackings):
        table = pq.read_table(source.path / FILE, columns=list(COLUMNS)).sort_by("feature")
        scores_F = scores(table)
        asked = inputs.get(f"explain/{tracking}/language_model/{model}")
        if method == "language_model":
            kept = table
        elif asked is not None:
            both = pq.read_table(asked.path / FILE, columns=["feature"])["feature"]
            kept = table.filter(pc.is_in(table["feature"], value_set=both.combine_chunks()))
        else:
            statuses = table["status"].to_pylist()
            kept = table.take(pa.array(spread(statuses, scores_F, most), pa.int64()))
        rows = [told(row, method, corpora[tracking]) for row in kept.to_pylist()]
        found.append(Explained(tracking, model, method, source.results, scores_F, rows))
    return found


def scores(table: pa.Table) -> FloatArray:
    """The scores [F] of a table, NaN for null."""
    column = pc.fill_null(pc.cast(table["score"], pa.float64()), np.nan)
    return np.asarray(column.to_numpy(), np.float64)


def spread(statuses: Sequence[str], scores_F: FloatArray, most: int) -> list[int]:
    """Up to `most` places of each status, ascending: at even ranks from best to worst score.

    So the rows show the whole distribution, with the best and the worst one; features without a
    score come last.
    """
    status_F = np.asarray(statuses, dtype=object)
    chosen: list[int] = []
    for status in STATUSES:
        places = np.flatnonzero(status_F == status)
        ranked = places[np.argsort(-scores_F[places], kind="stable")]  # NaN sorts behind
        if len(ranked):
            ranks = np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round())
            chosen += ranked[ranks.astype(np.int64)].tolist()
    return sorted(chosen)


def explanations_of(path: Path, features: Sequence[int]) -> dict[int, Row]:
    """The rows of some features in an explain artifact, by feature."""
    if not features:
        return {}
    wanted = pc.field("feature").isin(list(features))
    table = pq.read_table(path / FILE, columns=list(COLUMNS), filters=wanted)
    return {row["feature"]: row for row in table.to_pylist()}
