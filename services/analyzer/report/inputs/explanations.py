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
from shared.lineage.explanations.artifact import COLUMNS, FILE
from shared.lineage.explanations.feature_status import FEATURE_STATUSES
from shared.lineage.explanations.methods import METHODS, MethodName
from shared.lineage.explanations.scores import MAIN
from shared.lineage.explanations.shown import shown
from shared.lineage.roles import Role
from shared.stages.stage import Input

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Explained:
    """The explanations of one model by one method, in one tracking.

    `scores_F` are the main scores of every feature, NaN where undefined; `rows` the listed ones
    (COLUMNS), ascending by feature.
    """

    tracking: str
    model: str
    method: MethodName
    results: Row
    scores_F: FloatArray
    rows: Sequence[Row]


def sources(
    inputs: Mapping[str, Input], trackings: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, str, MethodName, Input]]:
    """Tracking, model, method and artifact of every explain stage, models in their order."""
    for tracking, models in sorted(trackings.items()):
        for model in models:
            for method in METHODS:
                source = inputs.get(Role.explain(tracking, method, model))
                if source is not None:
                    yield tracking, model, method, source


def shown_row(row: Row, method: MethodName, corpora: Sequence[str]) -> dict[str, Any]:
    """A stored row whose explanation is as readers see it (see `shown`)."""
    return {**row, "explanation": shown(row["explanation"], method, corpora)}


def read_explained(
    inputs: Mapping[str, Input],
    trackings: Mapping[str, Sequence[str]],
    corpora: Mapping[str, Sequence[str]],
    most: int,
) -> list[Explained]:
    """All explanations, with the names of each tracking's corpora.

    Of a method that names every feature, as rules do, `most` of each status are listed. Where a
    language model explained some features too, the rows are those of the same features, so that
    both can be read beside each other.
    """
    found = []
    for tracking, model, method, source in sources(inputs, trackings):
        table = pq.read_table(source.path / FILE, columns=list(COLUMNS)).sort_by("feature")
        scores_F = main_scores(table)
        features = None if METHODS[method].needs_language_model else _asked(inputs, tracking, model)
        if METHODS[method].needs_language_model:
            listed = table
        elif features is not None:
            listed = table.filter(pc.is_in(table["feature"], value_set=features))
        else:
            statuses = table["status"].to_pylist()
            listed = table.take(pa.array(spread(statuses, scores_F, most), pa.int64()))
        rows = [shown_row(row, method, corpora[tracking]) for row in listed.to_pylist()]
        found.append(Explained(tracking, model, method, source.results, scores_F, rows))
    return found


def _asked(inputs: Mapping[str, Input], tracking: str, model: str) -> pa.Array | None:
    """The features that language models were asked about; None where none was."""
    tables = [
        pq.read_table(source.path / FILE, columns=["feature"])
        for _, _, method, source in sources(inputs, {tracking: [model]})
        if METHODS[method].needs_language_model
    ]
    return pa.concat_tables(tables)["feature"].combine_chunks() if tables else None


def main_scores(table: pa.Table) -> FloatArray:
    """The main score of each row of a table [F], NaN for null."""
    column = pc.fill_null(pc.cast(table[MAIN.column], pa.float64()), np.nan)
    return np.asarray(column.to_numpy(), np.float64)


def spread(statuses: Sequence[str], scores_F: FloatArray, most: int) -> list[int]:
    """Up to `most` places of each status, ascending: at even ranks from best to worst score.

    So the rows show the whole distribution, with the best and the worst one; features without a
    score come last.
    """
    status_F = np.asarray(statuses, dtype=object)
    chosen: list[int] = []
    for status in FEATURE_STATUSES:
        places = np.flatnonzero(status_F == status)
        best_first = -scores_F[places] if MAIN.higher_is_better else scores_F[places]
        ranked = places[np.argsort(best_first, kind="stable")]  # NaN sorts behind
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
