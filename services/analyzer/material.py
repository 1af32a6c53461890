"""Reads the inputs of a report: scalars of every role, and the few files that it shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.analyzer.family import document, ordered
from shared.parameters import ReportParameters
from shared.stage import Input

CONTEXTS_SHOWN = 3  # top contexts of a labelled feature; more would not fit beside the table
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Material:
    """What the input stages found, by role (see ReportParameters), as plain values.

    `figures` and `universal` hold figures.json and the rows of universal.parquet of each tracking;
    `contexts` the top contexts of each feature that a label names: (tracking, model, feature).
    """

    parameters: ReportParameters
    results: Mapping[str, Row]
    keys: Mapping[str, str]
    figures: Mapping[str, Row] = field(default_factory=dict)
    universal: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    contexts: Mapping[tuple[str, str, int], Sequence[Row]] = field(default_factory=dict)

    @property
    def spec(self) -> Row:
        """The user's document, its keys sorted: their order is not part of the stage's key."""
        spec: Row = json.loads(json.dumps(document(self.parameters.spec), sort_keys=True))
        return spec

    @property
    def corpora(self) -> list[str]:
        """Names of the corpora in the order of every model's evaluation."""
        return list(self.parameters.corpora or document(self.parameters.spec)["corpora"])

    @property
    def models(self) -> list[str]:
        """Names of the models, parents before children, otherwise as trackings and edges go."""
        lists = [*self.trackings.values(), *self.parameters.edges]
        mentioned = dict.fromkeys(name for names in lists for name in names)
        names = dict.fromkeys([*mentioned, *sorted(self.spec["models"])])
        return ordered(list(names), self.parameters.edges)

    @property
    def trackings(self) -> dict[str, tuple[str, ...]]:
        """The models of each tracking, in the order of its track stage."""
        return dict(sorted(self.parameters.models.items()))

    def corpora_of(self, tracking: str) -> list[str]:
        """Names of the corpora of a tracking's token stream, in order."""
        fields = (self.spec.get("tracking") or {}).get(tracking) or {}
        return list(fields.get("corpora") or ())


def _top_contexts(source: Input, features: Sequence[int]) -> dict[int, list[Row]]:
    """The strongest contexts of some features, by feature."""
    wanted = (
        (pc.field("kind") == "top")
        & (pc.field("rank") < CONTEXTS_SHOWN)
        & pc.field("feature").isin(list(features))
    )
    rows = pq.read_table(source.path / "contexts.parquet", filters=wanted).to_pylist()
    found: dict[int, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["feature"], row["rank"])):
        found.setdefault(row["feature"], []).append(row)
    return found


def _labelled_contexts(
    tracking: str, models: Sequence[str], labels: Sequence[Row], inputs: Mapping[str, Input]
) -> dict[tuple[str, str, int], Sequence[Row]]:
    """Top contexts of every feature that is the best of its model for a label."""
    found: dict[tuple[str, str, int], Sequence[Row]] = {}
    for number, model in enumerate(models):
        features = [row["feature"] for row in labels if row["model"] == number]
        source = inputs.get(f"contexts/{tracking}/{model}")
        if source is not None and features:
            for feature, rows in _top_contexts(source, features).items():
                found[tracking, model, feature] = rows
    return found


def read(parameters: ReportParameters, inputs: Mapping[str, Input]) -> Material:
    """All that `results.assemble` needs; reads only the files that are shown."""
    figures, universal = {}, {}
    contexts: dict[tuple[str, str, int], Sequence[Row]] = {}
    for tracking, models in parameters.models.items():
        track = inputs.get(f"track/{tracking}")
        if track is None:
            continue
        figures[tracking] = json.loads((track.path / "figures.json").read_text("utf-8"))
        universal[tracking] = pq.read_table(track.path / "universal.parquet").to_pylist()
        contexts |= _labelled_contexts(tracking, models, figures[tracking]["labels"], inputs)
    return Material(
        parameters=parameters,
        results={role: source.results for role, source in inputs.items()},
        keys={role: source.key for role, source in inputs.items()},
        figures=figures,
        universal=universal,
        contexts=contexts,
    )
