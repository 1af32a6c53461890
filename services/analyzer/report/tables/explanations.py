"""CSV tables of explanations: every one of every model and method, and how they fare in children.

A dictionary of 16 384 features makes as many rows a model and method, so they are written as they
are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from services.analyzer.report.inputs.explanations import shown_row, sources
from services.analyzer.report.tables.registry import Row, Source, Table, ends
from shared.lineage.explanations import scores as declared
from shared.lineage.explanations.artifact import COLUMNS, FILE, best, with_names
from shared.lineage.explanations.explained_edge import SIDES
from shared.lineage.explanations.scores import MAIN
from shared.lineage.explanations.shown import harmless
from shared.lineage.roles import Role
from shared.stages.stage import Input

WHOLE = ("features", "explained", "failed", "scored", "covered", *declared.COLUMNS)
CROSS = ("feature", "status", "partner", "partner_r", MAIN.column, "cross")


def tables(source: Source) -> Iterator[Table]:
    """Four tables: every explanation and cross-score, and their means by model and by edge."""
    if source.results["explanation_scores"]:
        columns = ["tracking", "model", "method", *COLUMNS]
        yield Table("explanations", _explanations(source.results, source.inputs), columns)
    if source.results["explained_edges"]:
        columns = ["tracking", "parent", "child", "method", *CROSS]
        yield Table("cross_scores", _cross(source.results, source.inputs), columns)
    yield Table("explanation_scores", scores(source.results))
    yield Table("explained_edges", edges(source.results))


def _explanations(results: Mapping[str, Any], inputs: Mapping[str, Input]) -> Iterator[Row]:
    models = {name: one["models"] for name, one in results["trackings"].items()}
    for tracking, model, method, source in sources(inputs, models):
        corpora = results["trackings"][tracking]["corpora"] or ()
        place = {"tracking": tracking, "model": model, "method": method}
        with pq.ParquetFile(source.path / FILE) as file:
            for batch in file.iter_batches(columns=list(COLUMNS)):
                for stored in batch.to_pylist():
                    row = shown_row(stored, method, corpora)
                    yield {**place, **row, "explanation": harmless(row["explanation"])}


def _cross(results: Mapping[str, Any], inputs: Mapping[str, Input]) -> Iterator[Row]:
    for edge in results["explained_edges"]:
        place = {name: edge[name] for name in ("tracking", "parent", "child", "method")}
        names = (edge[name] for name in ("tracking", "method", "parent", "child"))
        source = inputs[Role.explained_edge(*names)]
        with pq.ParquetFile(source.path / "cross.parquet") as file:
            for batch in file.iter_batches(columns=list(CROSS)):
                yield from ({**place, **row} for row in batch.to_pylist())


def scores(results: Mapping[str, Any]) -> list[Row]:
    """One row for each model and method: how good its explanations are; and one for each status."""
    rows = []
    for one in results["explanation_scores"]:
        place = {name: one[name] for name in ("tracking", "model", "method", "label")}
        whole = {name: one[name] for name in (*WHOLE, "requests", "tokens")}
        rows.append({**place, "status": "all", **whole, **ends("interval", one["interval"])})
        for status, part in one["statuses"].items():
            known = {name: part.get(name) for name in ("features", "explained", MAIN.column)}
            interval = ends("interval", part.get("interval"))
            rows.append({**place, "status": status, **known, **interval})
    return rows


def edges(results: Mapping[str, Any]) -> list[Row]:
    """One row for each edge, method and fate: how well the child's features are predicted."""
    rows = []
    for edge in results["explained_edges"]:
        place = {name: edge[name] for name in ("tracking", "parent", "child", "method")}
        for side in SIDES:
            values = edge[side]
            if values is None:
                continue
            plain = {
                name: values[name] for name in ("features", MAIN.column, "cross", "difference")
            }
            interval = ends("interval", values["interval"])
            interval |= ends("difference_interval", values["difference_interval"])
            rows.append({**place, "status": side, **plain, **interval})
    return rows


def names(
    tracking: str, model: str, corpora: Sequence[str], inputs: Mapping[str, Input]
) -> dict[int, Row]:
    """By feature the explanation that names it: see `best`."""
    columns = ["feature", "explanation", MAIN.column]
    tables = (
        (method, with_names(pq.read_table(source.path / FILE, columns=columns), method, corpora))
        for _, _, method, source in sources(inputs, {tracking: [model]})
    )
    return {
        feature: {
            "explanation": harmless(row["explanation"]),
            "explained_by": row["method"],
            "explanation_score": row[MAIN.column],
        }
        for feature, row in best(tables).items()
    }
