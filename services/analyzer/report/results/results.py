"""Assembles results.json: every number that the report shows, under the names the user chose.

Pure: `assemble` turns the material of the inputs into one JSON-able value. The page, the tables and
the pictures are made from that value alone, so they cannot disagree with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from services.analyzer.report.family import checkpoint_of, kind_of, section
from services.analyzer.report.inputs.inputs import Material
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
from shared.lineage.roles import Role, roles_of

Values = dict[str, Any]
VERSION = 2  # raised when a name in results.json changes its meaning
HEALTH = (
    "l0",
    "explained_variance",
    "loss_recovered",
    "loss_recovered_mean",
    "dead_share",
    "loss",
    "loss_reconstructed",
    "loss_zero",
    "loss_mean",
    "tokens",
    "density_histogram",
)


def assemble(material: Material) -> Values:
    """The content of results.json; all numbers are finite or None.

    Raises ValueError when the counts of an edge do not add up, which only a broken stage can cause.
    """
    results = {
        "version": VERSION,
        "experiment": _experiment(material),
        "corpora": {name: _corpus(name, material) for name in material.corpora},
        "models": {name: _model(name, material) for name in material.models},
        "untrained": {
            name: {"corpora": evaluation(material.results[Role.untrained(name)], material.corpora)}
            for name in material.models
            if Role.untrained(name) in material.results
        },
        "sweeps": sweeps(material),
        "dictionaries": _dictionaries(material),
        "trackings": trackings(material),
        "edges": edges(material),
        "ancestors": ancestors(material),
        "merges": merges(material),
        "regained": regained(material),
        "along": along(material),
        "stability": stability(material),
        "crosscoders": crosscoders(material),
        "universal": universal(material),
        "labels": labels(material),
        "examples": examples(material),
        "explanations": explanations(material),
        "explanation_scores": explanation_scores(material),
        "explained_edges": explained_edges(material),
        "stages": dict(sorted(material.keys.items())),
        "spec": _spec(material),
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


def evaluation(results: Mapping[str, Any], corpora: Sequence[str]) -> Values:
    """Loss and accuracy by corpus, from a list in the order of `corpora`."""
    return {
        name: {key: value[key] for key in ("loss", "accuracy", "tokens") if key in value}
        for name, value in zip(corpora, results["corpora"], strict=True)
    }


def _spec(material: Material) -> Values:
    """The user's document, corpora and models in the order in which everything else has them."""
    spec = dict(material.spec)
    spec["corpora"] = {name: spec["corpora"][name] for name in material.corpora}
    known = [name for name in material.models if name in spec["models"]]
    spec["models"] = {name: spec["models"][name] for name in known}
    return spec


def _experiment(material: Material) -> Values:
    spec = material.spec
    return {
        "name": spec["name"],
        "seed": spec.get("seed"),
        "models": len(spec["models"]),
        "checkpoints": len(material.models) - len(spec["models"]),
        "corpora": len(material.corpora),
        "edges": len(material.parameters.edges),
    }


def _corpus(name: str, material: Material) -> Values:
    """Size and labels of a corpus, as far as its stages were given to the report."""
    corpus = material.results.get(Role.corpus(name), {})
    tokens = material.results.get(Role.tokens(name), {})
    return {
        **{key: corpus.get(key) for key in ("train", "validation", "labels")},
        **{key: tokens.get(key) for key in ("train_tokens", "validation_tokens")},
    }


def _model(name: str, material: Material) -> Values:
    checkpoint = checkpoint_of(name, material.spec["models"])
    kind, fields = kind_of(material.spec["models"][checkpoint[0] if checkpoint else name])
    results = material.results.get(Role.model(name), {})
    evaluated = material.results.get(Role.evaluate(name))
    return {
        "kind": "checkpoint" if checkpoint else kind,
        "checkpoint": {"of": checkpoint[0], "step": checkpoint[1]} if checkpoint else None,
        "parents": [parent for parent, child in material.parameters.edges if child == name],
        "parameters": results.get("parameters"),
        "steps": results.get("steps"),
        "trained_tokens": results.get("tokens"),
        "trained_on": list(fields.get("corpora") or ()),
        "merge": {key: fields.get(key) for key in ("method", "at_zero", "at_one", "t")}
        if kind == "merge"
        else None,
        "corpora": evaluation(evaluated, material.corpora) if evaluated else {},
    }


def _dictionaries(material: Material) -> Values:
    """Health of every dictionary by model, replicates in order."""
    found: dict[str, list[Values]] = {name: [] for name in material.models}
    for group, fields in section(material.spec, "dictionaries").items():
        for name in material.models:
            roles = roles_of(material.results, "quality", group, name)
            replicates = sorted(int(role.names[-1]) for role in roles)
            for replicate in replicates:
                seeds = fields.get("seeds") or ()
                seed = seeds[replicate] if replicate < len(seeds) else None
                one = _dictionary(group, name, replicate, seed, material)
                found[name].append({**one, "variant": fields.get("variant")})
    return {name: entries for name, entries in found.items() if entries}


def _dictionary(
    group: str, name: str, replicate: int, seed: int | None, material: Material
) -> Values:
    made = material.results.get(Role.dictionary(group, name, replicate), {})
    quality = material.results[Role.quality(group, name, replicate)]
    return {
        "group": group,
        "replicate": replicate,
        "seed": seed,
        "features": quality.get("features", made.get("features")),
        "width": made.get("width"),
        "vectors": made.get("vectors"),
        **{key: quality.get(key) for key in HEALTH},
    }
