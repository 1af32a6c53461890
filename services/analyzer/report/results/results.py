"""Assembles results.json: every number that the report shows, under the names the user chose.

`assemble` turns the inputs into one JSON-able value. The page, the tables and the pictures are made
from that value alone, so they cannot disagree with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from services.analyzer.report.family import checkpoint_of, section
from services.analyzer.report.inputs.inputs import ReportInputs
from services.analyzer.report.results.chains import along, merges, regained
from services.analyzer.report.results.edges import ancestors, edges
from services.analyzer.report.results.explanations import (
    explained_edges,
    explanation_scores,
    explanations,
)
from services.analyzer.report.results.features import examples, labels, trackings, universal
from services.analyzer.report.results.stability import crosscoders, stability
from services.analyzer.report.results.sweeps import sweeps
from shared.lineage.models import Dictionary, by_corpus, dictionaries_of, kind_of, model_of
from shared.lineage.roles import Role

Values = dict[str, Any]
VERSION = 2  # raised when a name in results.json changes its meaning
MEASURED = (  # of a dictionary, beside what REST says of it too
    "loss",
    "loss_reconstructed",
    "loss_zero",
    "loss_mean",
    "tokens",
    "density_histogram",
)


def assemble(inputs: ReportInputs) -> Values:
    """The content of results.json; all numbers are finite or None.

    Raises ValueError when the counts of an edge do not add up, which only a broken stage can cause.
    """
    results = {
        "version": VERSION,
        "experiment": _experiment(inputs),
        "corpora": {name: _corpus(name, inputs) for name in inputs.corpora},
        "models": {name: _model(name, inputs) for name in inputs.models},
        "untrained": {
            name: {"corpora": _evaluation(Role.untrained(name), inputs)}
            for name in inputs.models
            if Role.untrained(name) in inputs.roles
        },
        "sweeps": sweeps(inputs),
        "dictionaries": _dictionaries(inputs),
        "trackings": trackings(inputs),
        "edges": edges(inputs),
        "ancestors": ancestors(inputs),
        "merges": merges(inputs),
        "regained": regained(inputs),
        "along": along(inputs),
        "stability": stability(inputs),
        "crosscoders": crosscoders(inputs),
        "universal": universal(inputs),
        "labels": labels(inputs),
        "examples": examples(inputs),
        "explanations": explanations(inputs),
        "explanation_scores": explanation_scores(inputs),
        "explained_edges": explained_edges(inputs),
        "stages": {role: inputs.stages[role].key for role in sorted(inputs.roles)},
        "spec": _spec(inputs),
    }
    clean: Values = _finite(results)
    return clean


def _finite(value: Any) -> Any:
    """The value with None where a float is not finite."""
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _evaluation(role: Role, inputs: ReportInputs) -> Values:
    """Loss and accuracy on every corpus, by name; empty where the stage is not planned."""
    measured = inputs.results(role).get("corpora")
    named = by_corpus(measured, inputs.corpora) if measured else {}
    return {name: one.model_dump(exclude_unset=True) for name, one in named.items()}


def _spec(inputs: ReportInputs) -> Values:
    """The user's document, corpora and models in the order in which everything else has them."""
    spec = dict(inputs.spec)
    spec["corpora"] = {name: spec["corpora"][name] for name in inputs.corpora}
    known = [name for name in inputs.models if name in spec["models"]]
    spec["models"] = {name: spec["models"][name] for name in known}
    return spec


def _experiment(inputs: ReportInputs) -> Values:
    spec = inputs.spec
    return {
        "name": spec["name"],
        "seed": spec.get("seed"),
        "models": len(spec["models"]),
        "checkpoints": len(inputs.models) - len(spec["models"]),
        "corpora": len(inputs.corpora),
        "edges": len(inputs.parameters.edges),
    }


def _corpus(name: str, inputs: ReportInputs) -> Values:
    """Size and labels of a corpus, as far as its stages were given to the report."""
    corpus, tokens = inputs.results(Role.corpus(name)), inputs.results(Role.tokens(name))
    return {
        **{key: corpus.get(key) for key in ("train", "validation", "labels")},
        **{key: tokens.get(key) for key in ("train_tokens", "validation_tokens")},
    }


def _model(name: str, inputs: ReportInputs) -> Values:
    checkpoint = checkpoint_of(name, inputs.spec["models"])
    fields = inputs.spec["models"][checkpoint[0] if checkpoint else name]
    made = model_of(name, fields, inputs.parameters.edges, inputs)
    results = inputs.results(Role.model(name))
    return {
        "kind": "checkpoint" if checkpoint else kind_of(fields)[0],
        "checkpoint": {"of": checkpoint[0], "step": checkpoint[1]} if checkpoint else None,
        "parents": made.parents,
        "parameters": made.parameters,
        "steps": results.get("steps"),
        "trained_tokens": results.get("tokens"),
        "trained_on": made.trained_on,
        "merge": made.merge,
        "corpora": _evaluation(Role.evaluate(name), inputs),
    }


def _dictionaries(inputs: ReportInputs) -> Values:
    """Health of every dictionary by model, replicates in order."""
    groups = section(inputs.spec, "dictionaries")
    by_model = {
        name: [
            _dictionary(name, role, dictionary, inputs)
            for role, dictionary in dictionaries_of(name, groups, inputs)
        ]
        for name in inputs.models
    }
    return {name: entries for name, entries in by_model.items() if entries}


def _dictionary(name: str, role: Role, dictionary: Dictionary, inputs: ReportInputs) -> Values:
    group, replicate = dictionary.group, dictionary.replicate
    made, quality = inputs.results(role), inputs.results(Role.quality(group, name, replicate))
    health = dictionary.model_dump()
    named = {key: health.pop(key) for key in ("group", "replicate", "seed", "features")}
    return {
        **named,
        "width": made.get("width"),
        "vectors": made.get("vectors"),
        **health,
        **{key: quality.get(key) for key in MEASURED},
        "variant": section(inputs.spec, "dictionaries")[group].get("variant"),
    }
