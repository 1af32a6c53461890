"""What results.json says about single features: trackings, chains, labels, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.analyzer.report.family import section
from services.analyzer.report.inputs.inputs import ReportInputs
from shared.lineage.chains import chain_of

Values = dict[str, Any]


def trackings(inputs: ReportInputs) -> Values:
    """Settings of every tracking, the models it compares, and how many features are universal."""
    names = ("dictionary", "corpora", "tokens", "threshold", "min_firings")
    settings = {}
    for name, models in inputs.trackings.items():
        fields = section(inputs.spec, "tracking")[name]
        settings[name] = {
            **{key: fields.get(key) for key in names},
            "models": list(models),
            "universal": len(inputs.universal[name]) if name in inputs.universal else None,
        }
    return settings


def universal(inputs: ReportInputs) -> list[Values]:
    """Features that are found in every model of a tracking, as track found them."""
    return [
        {"tracking": tracking, **chain_of(models, row).model_dump()}
        for tracking, models in inputs.trackings.items()
        for row in inputs.universal.get(tracking, ())
    ]


def labels(inputs: ReportInputs) -> list[Values]:
    """The best feature of each model for each label, with its strongest contexts."""
    return [
        _label(tracking, models, row, inputs)
        for tracking, models in inputs.trackings.items()
        for row in inputs.figures.get(tracking, {}).get("labels", ())
    ]


def examples(inputs: ReportInputs) -> Values:
    """By tracking, the features of figures 3 and 4, with names for numbers; None for none."""
    return {
        tracking: {
            "universal": _universal_example(tracking, models, inputs),
            "failing": _failing_example(tracking, models, inputs),
        }
        for tracking, models in inputs.trackings.items()
        if tracking in inputs.figures
    }


def _context(context: Mapping[str, Any], corpora: Sequence[str], names: Sequence[str]) -> Values:
    """A context with the name of its corpus; `names` are the fields to keep as they are."""
    number = context.get("corpus")
    corpus = corpora[number] if isinstance(number, int) and number < len(corpora) else None
    return {"corpus": corpus, **{name: list(context[name]) for name in names}}


def _label(
    tracking: str, models: Sequence[str], row: Mapping[str, Any], inputs: ReportInputs
) -> Values:
    model = models[row["model"]]
    corpora = inputs.corpora_of(tracking)
    contexts = inputs.contexts.get((tracking, model, row["feature"]), ())
    return {
        "tracking": tracking,
        "label": row["label"],
        "model": model,
        **{key: row[key] for key in ("feature", "precision", "recall", "f1")},
        "persists_in": [models[number] for number in row["persists_in"]],
        "contexts": [_context(one, corpora, ("tokens", "activations")) for one in contexts],
        "about": _about(tracking, model, row["feature"], inputs),
    }


def _about(tracking: str, model: str, feature: int, inputs: ReportInputs) -> Values | None:
    """What a feature does beside firing: density, corpora, positions, tokens raised and lowered."""
    known = inputs.effects.get((tracking, model, feature))
    if known is None:
        return None
    corpora = inputs.corpora_of(tracking)
    shares = {corpora[n]: share for n, share in known["corpora"].items() if n < len(corpora)}
    names = ("density", "max", "positions", "raised", "lowered", "explanations")
    return {**{name: known[name] for name in names}, "corpora": shares}


def _universal_example(tracking: str, models: Sequence[str], inputs: ReportInputs) -> Values | None:
    example = inputs.figures[tracking].get("universal_example")
    if not example:
        return None
    corpora = inputs.corpora_of(tracking)
    return {
        **{key: example.get(key) for key in ("label", "reason", "features", "correlations")},
        "models": list(models),
        "about": [
            _about(tracking, model, feature, inputs)
            for model, feature in zip(models, example["features"], strict=True)
        ],
        "contexts": [
            _context(one, corpora, ("tokens", "activations")) for one in example["contexts"]
        ],
    }


def _failing_example(tracking: str, models: Sequence[str], inputs: ReportInputs) -> Values | None:
    example = inputs.figures[tracking].get("failing_example")
    if not example:
        return None
    corpora = inputs.corpora_of(tracking)
    parent, child = models[example["parent"]], models[example["child"]]
    return {
        **{key: example.get(key) for key in ("feature", "closest", "r", "label", "reason")},
        "parent": parent,
        "child": child,
        "about": _about(tracking, parent, example["feature"], inputs),
        "about_closest": _about(tracking, child, example["closest"], inputs),
        "contexts": [
            _context(one, corpora, ("tokens", "parent", "child")) for one in example["contexts"]
        ],
    }
