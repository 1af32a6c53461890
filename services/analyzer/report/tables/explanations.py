"""CSV tables of explanations: every one of every model and method, and how they fare in children.

A dictionary of 16 384 features makes as many rows a model and method, so they are written as they
are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow.parquet as pq

from services.analyzer.report.inputs.explanations import COLUMNS, FILE, METHODS, sources, told
from services.analyzer.report.tables.tables import Row, Source, Table, ends
from shared.lineage.explanations import harmless
from shared.stages.stage import Input

SCORES = ("features", "explained", "failed", "scored", "covered", "score", "detection", "fuzzing")
CROSS = ("feature", "status", "partner", "partner_r", "score", "cross")


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
                    row = told(stored, method, corpora)
                    yield {**place, **row, "explanation": harmless(row["explanation"])}


def _cross(results: Mapping[str, Any], inputs: Mapping[str, Input]) -> Iterator[Row]:
    for edge in results["explained_edges"]:
        place = {name: edge[name] for name in ("tracking", "parent", "child", "method")}
        pair = f"{edge['parent']}/{edge['child']}"
        source = inputs[f"explained_edge/{edge['tracking']}/{edge['method']}/{pair}"]
        with pq.ParquetFile(source.path / "cross.parquet") as file:
            for batch in file.iter_batches(columns=list(CROSS)):
                yield from ({**place, **row} for row in batch.to_pylist())


def scores(results: Mapping[str, Any]) -> list[Row]:
    """One row for each model and method: how good its explanations are; and one for each status."""
    rows = []
    for one in results["explanation_scores"]:
        place = {name: one[name] for name in ("tracking", "model", "method", "label")}
        whole = {name: one[name] for name in (*SCORES, "requests", "tokens")}
        rows.append({**place, "status": "all", **whole, **ends("interval", one["interval"])})
        for status, part in one["statuses"].items():
            known = {name: part.get(name) for name in ("features", "explained", "score")}
            interval = ends("interval", part.get("interval"))
            rows.append({**place, "status": status, **known, **interval})
    return rows


def edges(results: Mapping[str, Any]) -> list[Row]:
    """One row for each edge, method and fate: how well the child's features are predicted."""
    rows = []
    for edge in results["explained_edges"]:
        place = {name: edge[name] for name in ("tracking", "parent", "child", "method")}
        for side in ("persist", "disappear"):
            values = edge[side]
            if values is None:
                continue
            plain = {name: values[name] for name in ("features", "score", "cross", "difference")}
            interval = ends("interval", values["interval"])
            interval |= ends("difference_interval", values["difference_interval"])
            rows.append({**place, "status": side, **plain, **interval})
    return rows


def names(
    tracking: str, model: str, corpora: Sequence[str], inputs: Mapping[str, Input]
) -> dict[int, Row]:
    """By feature its best explanation: the language model's where there is one, else the rules'."""
    found: dict[int, Row] = {}
    for method in METHODS:
        source = inputs.get(f"explain/{tracking}/{method}/{model}")
        if source is None:
            continue
        columns = ["feature", "explanation", "score"]
        for row in pq.read_table(source.path / FILE, columns=columns).to_pylist():
            if row["explanation"] is not None:
                found[row["feature"]] = {
                    "explanation": harmless(told(row, method, corpora)["explanation"]),
                    "explained_by": method,
                    "explanation_score": row["score"],
                }
    return found
