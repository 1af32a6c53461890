"""Stage `track`: chains of features through the family, and the features that the figures show.

M: models, U: universal features, W: shown windows, K: tokens of a window.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.analyzer.chains import models_reached, universal_chains
from services.analyzer.codes import FeatureMajor, FloatArray, IntArray, load_codes
from services.analyzer.correlate import pair_correlation
from services.analyzer.examples import (
    EdgeTable,
    FailingExample,
    UniversalExample,
    context_rows,
    failing_example,
    shown_contexts,
    universal_example,
)
from shared.parameters import TrackParameters
from shared.stage import Input, Leave, Stage, StageError

DIGITS = 6  # of numbers in figures.json


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
        """The one-to-one partner of each parent feature, per edge."""
        return [edge.match for edge in self.edges]


def run(stage: Stage) -> None:
    """Follow features through the models (see TrackParameters)."""
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
        "universal_example": _universal_figure(family, universal, chosen, contexts[0]),
        "failing_example": _failing_figure(failing, chosen, contexts),
        "labels": labels,
    }
    text = json.dumps(figures, indent=1, sort_keys=True, allow_nan=False)
    (stage.output / "figures.json").write_text(text + "\n", encoding="utf-8")
    pq.write_table(_universal_table(family, chosen), stage.output / "universal.parquet")
    stage.results.update(universal=len(family.chains_UM), labels=labels)


def _family(
    parameters: TrackParameters, codes: Sequence[Input], matches: Sequence[Input]
) -> Family:
    if len(matches) != len(parameters.edges):
        raise StageError(f"{len(parameters.edges)} edges, but {len(matches)} match inputs")
    edges = [
        EdgeTable.read(edge.parent, edge.child, source.path)
        for edge, source in zip(parameters.edges, matches, strict=True)
    ]
    widths = [int(source.results["features"]) for source in codes]
    chains_UM = universal_chains(
        widths, [(edge.parent, edge.child) for edge in edges], [edge.match for edge in edges]
    )
    r_EU = [edge.match_r[chains_UM[:, edge.parent]] for edge in edges]
    return Family(edges, chains_UM, np.min(r_EU, axis=0) if r_EU else np.empty(0))


def _codes(
    stage: Stage, codes: Sequence[Input], family: Family, failing: FailingExample | None
) -> list[FeatureMajor]:
    """Each model's activations of the features that are written about, and of no others."""
    found = []
    for model, source in enumerate(codes):
        if stage.stopping:
            raise Leave
        features = set(family.chains_UM[:, model].tolist())
        if failing is not None and model == failing.edge.parent:
            features.add(failing.feature)
        if failing is not None and model == failing.edge.child:
            features.add(failing.closest)
        wanted = np.array(sorted(features), np.int64)
        found.append(load_codes(source).only(wanted).by_feature())
        stage.progress(model + 1, len(codes), "models")
    return found


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


def _universal_figure(
    family: Family,
    example: UniversalExample | None,
    codes: Sequence[FeatureMajor],
    contexts: Input,
) -> dict[str, Any] | None:
    if example is None:
        return None
    features = family.chains_UM[example.row].tolist()
    firings = [own.of(feature) for own, feature in zip(codes, features, strict=True)]
    correlations = [
        [round(pair_correlation(one, other, codes[0].tokens), DIGITS) for other in firings]
        for one in firings
    ]
    shown = shown_contexts(context_rows(contexts.path, [features[0]]))
    return {
        "label": example.label,
        "reason": example.reason,
        "features": features,
        "correlations": correlations,
        "contexts": [
            {
                "corpus": row["corpus"],
                "tokens": row["tokens"],
                "activations": [
                    _window(own, feature, row) for own, feature in zip(codes, features, strict=True)
                ],
            }
            for row in shown
        ],
    }


def _failing_figure(
    example: FailingExample | None, codes: Sequence[FeatureMajor], contexts: Sequence[Input]
) -> dict[str, Any] | None:
    if example is None:
        return None
    parent, child = example.edge.parent, example.edge.child
    shown = shown_contexts(context_rows(contexts[parent].path, [example.feature]))
    return {
        "parent": parent,
        "child": child,
        "feature": example.feature,
        "closest": example.closest,
        "r": round(example.r, DIGITS),
        "label": example.label,
        "reason": example.reason,
        "contexts": [
            {
                "corpus": row["corpus"],
                "tokens": row["tokens"],
                "parent": _window(codes[parent], example.feature, row),
                "child": _window(codes[child], example.closest, row),
            }
            for row in shown
        ],
    }


def _window(codes: FeatureMajor, feature: int, row: dict[str, Any]) -> list[float]:
    """The feature's activation on each token of a context."""
    positions = row["start"] + np.arange(len(row["tokens"]))
    return [round(float(value), DIGITS) for value in codes.at(feature, positions)]


def _labels(family: Family, contexts: Sequence[Input]) -> list[dict[str, Any]]:
    """The best feature of each model for each label, and in which descendants it persists."""
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
