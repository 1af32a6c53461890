"""Reads the inputs of a report: scalars of every role, and the few files that it shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from services.analyzer.report.family import document, ordered, section
from services.analyzer.report.inputs.explanations import (
    METHODS,
    Explained,
    explanations_of,
    read_explained,
    told,
)
from services.analyzer.report.inputs.features import Place, contexts_of, effects_of, shown_features
from services.analyzer.report.inputs.matches import best_r_of_null, bootstrap
from shared.arrays import FloatArray
from shared.lineage.roles import Role
from shared.stages.report import ReportParameters
from shared.stages.stage import Input

LISTED = 50  # rules of each status that are listed, where the spec does not say
RESAMPLED = ("match", "ancestor", "ceiling", "warm", "crossed")  # kinds of roles
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Material:
    """What the input stages found, by role (see ReportParameters), as plain values.

    `figures` and `universal` hold figures.json and the rows of universal.parquet of each tracking;
    `contexts` the top contexts of each feature that a label names, `effects` what is known of the
    features that the page shows: (tracking, model, feature). `bootstrap` holds the replicates of
    the three shares of a match, by role, `null_best_r` the histogram of best r under its null.
    `explained` has the explanations of every model, by method.
    """

    parameters: ReportParameters
    results: Mapping[str, Row]
    keys: Mapping[str, str]
    figures: Mapping[str, Row] = field(default_factory=dict)
    universal: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    contexts: Mapping[Place, Sequence[Row]] = field(default_factory=dict)
    effects: Mapping[Place, Row] = field(default_factory=dict)
    bootstrap: Mapping[str, Mapping[str, FloatArray]] = field(default_factory=dict)
    null_best_r: Mapping[str, Row] = field(default_factory=dict)
    explained: Sequence[Explained] = ()

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
        return corpora_of(self.parameters, tracking)

    def dictionaries_of(self, tracking: str) -> Row:
        """The group of dictionaries that a tracking compares, as the spec has it."""
        fields = section(self.spec, "tracking").get(tracking) or {}
        group: Row = section(self.spec, "dictionaries").get(fields.get("dictionary") or "") or {}
        return group


def corpora_of(parameters: ReportParameters, tracking: str) -> list[str]:
    """Names of the corpora of a tracking's token stream, in order."""
    fields = section(document(parameters.spec), "tracking").get(tracking) or {}
    return list(fields.get("corpora") or ())


def read(parameters: ReportParameters, inputs: Mapping[str, Input]) -> Material:
    """All that `results.assemble` needs; reads only the files that are shown."""
    figures, universal = {}, {}
    contexts: dict[Place, Sequence[Row]] = {}
    effects: dict[Place, Row] = {}
    for tracking, models in parameters.models.items():
        track = inputs.get(Role.track(tracking))
        if track is None:
            continue
        figures[tracking] = json.loads((track.path / "figures.json").read_text("utf-8"))
        universal[tracking] = pq.read_table(track.path / "universal.parquet").to_pylist()
        for number, model in enumerate(models):
            source = inputs.get(Role.contexts(tracking, model))
            if source is None:
                continue
            labelled = [r["feature"] for r in figures[tracking]["labels"] if r["model"] == number]
            shown = shown_features(figures[tracking], number)
            for feature, rows in contexts_of(source.path, labelled).items():
                contexts[tracking, model, feature] = rows
            named = _named(inputs, tracking, model, shown, corpora_of(parameters, tracking))
            for feature, known in effects_of(source.path, shown).items():
                effects[tracking, model, feature] = {**known, "explanations": named[feature]}
    resampled = {role: one.path for role, one in inputs.items() if Role(role).kind in RESAMPLED}
    return Material(
        parameters=parameters,
        results={role: source.results for role, source in inputs.items()},
        keys={role: source.key for role, source in inputs.items()},
        figures=figures,
        universal=universal,
        contexts=contexts,
        effects=effects,
        bootstrap={role: bootstrap(path) for role, path in resampled.items()},
        null_best_r={role: best_r_of_null(path) for role, path in resampled.items()},
        explained=read_explained(
            inputs,
            parameters.models,
            {tracking: corpora_of(parameters, tracking) for tracking in parameters.models},
            _listed(parameters),
        ),
    )


def _listed(parameters: ReportParameters) -> int:
    """How many rules of each status are listed: as many as a language model would explain."""
    fields = section(document(parameters.spec), "explain")
    return int(fields.get("features") or LISTED)


def _named(
    inputs: Mapping[str, Input],
    tracking: str,
    model: str,
    features: Sequence[int],
    corpora: Sequence[str],
) -> Mapping[int, list[Row]]:
    """The explanations of some features of a model by every method that has one."""
    found: dict[int, list[Row]] = {feature: [] for feature in features}
    for method in METHODS:
        source = inputs.get(Role.explain(tracking, method, model))
        if source is None:
            continue
        for feature, row in explanations_of(source.path, features).items():
            place = {"method": method, "label": source.results.get("label")}
            found[feature].append({**place, **told(row, method, corpora)})
    return found
