"""Stage `track`: chains of features through the family, and the features that the figures show.

M: models, F: features of a model, U: universal features.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.analyzer.codes.codes import FeatureMajor, load_codes
from services.analyzer.codes.correlate import pair_correlation
from services.analyzer.track.chains import models_reached, universal_chains
from services.analyzer.track.example_figures import failing_figure, universal_figure
from services.analyzer.track.examples import (
    EdgeTable,
    FailingExample,
    failing_example,
    universal_example,
)
from services.analyzer.track.fates import Kin, along, fate_table, merges, regained
from shared.arrays import BoolArray, FloatArray, IntArray
from shared.lineage.statuses import alive
from shared.stages.stage import Input, Leave, Stage, StageError
from shared.stages.tracking import TrackEdge, TrackParameters

# Rows of chains.parquet that are read together: one feature is found without reading the others.
GROUP_ROWS = 4096


@dataclass(frozen=True)
class Family:
    """The edges of a family, its universal features, and the lowest r of each over the edges."""

    edges: list[EdgeTable]
    chains_UM: IntArray
    weakest_r_U: FloatArray

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The edges as (parent, child)."""
        return [(edge.parent, edge.child) for edge in self.edges]

    @property
    def matches(self) -> list[IntArray]:
        """Per edge, the one-to-one partner of each parent feature [F]."""
        return [edge.match for edge in self.edges]


def run(stage: Stage) -> None:
    """Follow features through the models (see TRACK)."""
    parameters = TrackParameters.model_validate(stage.parameters)
    codes, contexts = stage.group("codes"), stage.group("contexts")
    family = _family(parameters, codes, stage.group("match"))
    tokens, least = int(codes[0].results["tokens"]), parameters.min_firings
    failing = failing_example(family.edges, [source.path for source in contexts], tokens, least)
    chosen = _codes(stage, codes, family, failing)
    firings_U = np.diff(chosen[0].starts_F)[family.chains_UM[:, 0]]
    universal = universal_example(
        family.chains_UM, family.weakest_r_U, firings_U, contexts[0].path, tokens, least
    )
    labels = _labels(family, contexts)
    figures = {
        "universal_example": universal_figure(universal, family.chains_UM, chosen, contexts[0]),
        "failing_example": failing_figure(failing, chosen, contexts),
        "labels": labels,
    }
    text = json.dumps(figures, indent=1, sort_keys=True, allow_nan=False)
    (stage.output / "figures.json").write_text(text + "\n", encoding="utf-8")
    pq.write_table(_universal_table(family, chosen), stage.output / "universal.parquet")
    kin = _kin(stage, parameters, family, codes)
    pq.write_table(fate_table(kin), stage.output / "chains.parquet", row_group_size=GROUP_ROWS)
    stage.results.update(
        universal=len(family.chains_UM),
        labels=labels,
        merges=merges(kin),
        regained=regained(kin),
        along=along(kin),
    )


def _family(
    parameters: TrackParameters, codes: Sequence[Input], matches: Sequence[Input]
) -> Family:
    widths = [int(source.results["features"]) for source in codes]
    edges = _edge_tables("edges", parameters.edges, "match", matches, widths)
    chains_UM = universal_chains(
        widths, [(edge.parent, edge.child) for edge in edges], [edge.match for edge in edges]
    )
    r_EU = [edge.match_r[chains_UM[:, edge.parent]] for edge in edges]
    return Family(edges, chains_UM, np.min(r_EU, axis=0) if r_EU else np.empty(0))


def _edge_tables(
    field: str,
    edges: Sequence[TrackEdge],
    role: str,
    matches: Sequence[Input],
    widths: Sequence[int],
) -> list[EdgeTable]:
    """The tables of one field's edges; StageError where inputs do not fit the parameters."""
    if len(matches) != len(edges):
        raise StageError(f"{len(edges)} {field}, but {len(matches)} {role} inputs")
    tables = []
    for number, (edge, source) in enumerate(zip(edges, matches, strict=True)):
        if not 0 <= edge.parent < edge.child < len(widths):
            raise StageError(
                f"{field}/{number} leads from model {edge.parent} to {edge.child}: models are "
                f"numbered from 0 to {len(widths) - 1}, ancestors before descendants"
            )
        table = EdgeTable.read(edge.parent, edge.child, source.path)
        if len(table.match) != widths[edge.parent]:
            raise StageError(
                f"{role}/{number} has {len(table.match)} features of model {edge.parent}, its "
                f"codes have {widths[edge.parent]}"
            )
        tables.append(table)
    return tables


def _kin(stage: Stage, parameters: TrackParameters, family: Family, codes: Sequence[Input]) -> Kin:
    """What fates are derived from: live features, matches along edges and over generations."""
    widths = [int(source.results["features"]) for source in codes]
    ancestors = _edge_tables(
        "ancestors", parameters.ancestors, "ancestor", stage.group("ancestor"), widths
    )
    live: list[BoolArray] = []
    for source in codes:
        if stage.stopping:
            raise Leave
        live.append(alive(load_codes(source).firings, parameters.min_firings))
    return Kin(
        alive=live,
        edges=family.pairs,
        matches=family.matches,
        chains_UM=family.chains_UM,
        ancestors=[(table.parent, table.child) for table in ancestors],
        direct=[table.match for table in ancestors],
    )


def _codes(
    stage: Stage, codes: Sequence[Input], family: Family, failing: FailingExample | None
) -> list[FeatureMajor]:
    """Each model's activations of the features that are shown, and of no others."""
    shown = []
    for model, source in enumerate(codes):
        if stage.stopping:
            raise Leave
        features = set(family.chains_UM[:, model].tolist())
        if failing is not None and model == failing.edge.parent:
            features.add(failing.feature)
        if failing is not None and model == failing.edge.child:
            features.add(failing.closest)
        numbers = np.array(sorted(features), np.int64)
        shown.append(load_codes(source).only(numbers).by_feature())
        stage.progress(model + 1, len(codes), "models")
    return shown


def _universal_table(family: Family, codes: Sequence[FeatureMajor]) -> pa.Table:
    """universal.parquet: feature_i and r_i per model (r with the first model's feature)."""
    columns: dict[str, pa.Array] = {}
    for model, own in enumerate(codes):
        r_U = [
            pair_correlation(codes[0].of(int(chain[0])), own.of(int(chain[model])), own.tokens)
            for chain in family.chains_UM
        ]
        columns[f"feature_{model}"] = pa.array(family.chains_UM[:, model], pa.int32())
        columns[f"r_{model}"] = pa.array(r_U, pa.float64())
    columns["weakest_r"] = pa.array(family.weakest_r_U, pa.float64())
    return pa.table(columns)


def _labels(family: Family, contexts: Sequence[Input]) -> list[dict[str, Any]]:
    """The best feature of each model for each label, and the descendants in which it persists."""
    rows = []
    for model, source in enumerate(contexts):
        for label, best in source.results["labels"].items():
            if best is None:
                continue
            reached = models_reached(family.pairs, family.matches, model, best["feature"])
            names = ("feature", "precision", "recall", "f1")
            rows.append(
                {
                    "label": label,
                    "model": model,
                    **{name: best[name] for name in names},
                    "persists_in": reached,
                }
            )
    return sorted(rows, key=lambda row: (row["label"], row["model"]))
