"""The inputs of a report: results of every role, and the few files that it shows."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from services.analyzer.report.family import ordered, section
from services.analyzer.report.inputs.explanations import (
    Explained,
    explanations_of,
    read_explained,
    shown_row,
)
from services.analyzer.report.inputs.features import Place, contexts_of, effects_of, shown_features
from shared.lineage.explanations.methods import METHODS
from shared.lineage.pair import Arrays, Results
from shared.lineage.roles import Role
from shared.stages.report import ReportParameters
from shared.stages.stage import Input

LISTED = 50  # rules of each status that are listed, where the spec does not say
Row = Mapping[str, Any]


@dataclass(frozen=True)
class ReportInputs:
    """What the input stages found, by role (see shared.lineage.roles).

    `stages` are the inputs themselves. `figures` and `universal` hold figures.json and the rows of
    universal.parquet of each tracking; `contexts` the top contexts of each feature that a label
    names, `effects` what is known of the features that the page shows: (tracking, model, feature).
    `explained` has the explanations of every model, by method.
    """

    parameters: ReportParameters
    stages: Mapping[str, Input]
    figures: Mapping[str, Row] = field(default_factory=dict)
    universal: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    contexts: Mapping[Place, Sequence[Row]] = field(default_factory=dict)
    effects: Mapping[Place, Row] = field(default_factory=dict)
    explained: Sequence[Explained] = ()

    @property
    def roles(self) -> Collection[str]:
        """The roles that the report was given."""
        return self.stages.keys()

    def results(self, role: Role) -> Results:
        """The results of a role (see shared.lineage.pair.Source); empty where it is not planned."""
        return self.stages[role].results if role in self.stages else {}

    def arrays(self, role: Role, file: str) -> Arrays:
        """The arrays of an .npz file of a role."""
        with np.load(self.stages[role].path / file, allow_pickle=False) as stored:
            return dict(stored)

    @property
    def spec(self) -> Row:
        """The user's document, its keys sorted: their order is not part of the stage's key."""
        spec: Row = json.loads(json.dumps(self.parameters.spec, sort_keys=True))
        return spec

    @property
    def corpora(self) -> list[str]:
        """Names of the corpora in the order of every model's evaluation."""
        return list(self.parameters.corpora or section(self.parameters.spec, "corpora"))

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


def corpora_of(parameters: ReportParameters, tracking: str) -> list[str]:
    """Names of the corpora of a tracking's token stream, in order."""
    fields = section(parameters.spec, "tracking").get(tracking) or {}
    return list(fields.get("corpora") or ())


def read_inputs(parameters: ReportParameters, stages: Mapping[str, Input]) -> ReportInputs:
    """All that `results.assemble` needs; reads only the files that are shown."""
    figures, universal = {}, {}
    contexts: dict[Place, Sequence[Row]] = {}
    effects: dict[Place, Row] = {}
    for tracking, models in parameters.models.items():
        track = stages.get(Role.track(tracking))
        if track is None:
            continue
        figures[tracking] = json.loads((track.path / "figures.json").read_text("utf-8"))
        universal[tracking] = pq.read_table(track.path / "universal.parquet").to_pylist()
        for number, model in enumerate(models):
            source = stages.get(Role.contexts(tracking, model))
            if source is None:
                continue
            labelled = [r["feature"] for r in figures[tracking]["labels"] if r["model"] == number]
            shown = shown_features(figures[tracking], number)
            for feature, rows in contexts_of(source.path, labelled).items():
                contexts[tracking, model, feature] = rows
            named = _named(stages, tracking, model, shown, corpora_of(parameters, tracking))
            for feature, known in effects_of(source.path, shown).items():
                effects[tracking, model, feature] = {**known, "explanations": named[feature]}
    corpora = {tracking: corpora_of(parameters, tracking) for tracking in parameters.models}
    return ReportInputs(
        parameters=parameters,
        stages=stages,
        figures=figures,
        universal=universal,
        contexts=contexts,
        effects=effects,
        explained=read_explained(stages, parameters.models, corpora, _listed(parameters)),
    )


def _listed(parameters: ReportParameters) -> int:
    """How many rules of each status are listed: as many as a language model would explain."""
    fields = section(parameters.spec, "explain")
    return int(fields.get("features") or LISTED)


def _named(
    stages: Mapping[str, Input],
    tracking: str,
    model: str,
    features: Sequence[int],
    corpora: Sequence[str],
) -> Mapping[int, list[Row]]:
    """The explanations of some features of a model by every method that has one."""
    named: dict[int, list[Row]] = {feature: [] for feature in features}
    for method in METHODS:
        source = stages.get(Role.explain(tracking, method, model))
        if source is None:
            continue
        for feature, row in explanations_of(source.path, features).items():
            place = {"method": method, "label": source.results.get("label")}
            named[feature].append({**place, **shown_row(row, method, corpora)})
    return named
