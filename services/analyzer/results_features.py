"""What results.json says about features: edges with their controls, chains, labels, examples.

Definitions, the same for every edge parent -> child of a tracking:
  share        persist / alive_parent, persist being one-to-one matches at r >= threshold
  ceiling      the same statistic between two dictionary seeds of the *parent* model: what the share
               would be if the child were the same model (ceiling_child: of the child model)
  null         the same statistic after the child's stream was rolled: what chance gives
  *_any        the same with any-match instead: a partner may be used more than once
  inherited    persist / alive_child, the share of the child's features that come from the parent
  share_of_ceiling  share / ceiling; 1 means that nothing more could have been found
  best_r       histograms of the highest r that each live feature of the parent reaches
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.analyzer.family import section
from services.analyzer.material import Material

Values = dict[str, Any]
COUNTS = ("alive_parent", "alive_child", "persist", "disappear", "emerge", "persist_any")


def trackings(material: Material) -> Values:
    """Settings of every tracking, the models it compares, and how many features are universal."""
    names = ("dictionary", "corpora", "tokens", "threshold", "min_firings")
    found = {}
    for name, models in material.trackings.items():
        fields = section(material.spec, "tracking").get(name, {})
        found[name] = {
            **{key: fields.get(key) for key in names},
            "models": list(models),
            "universal": len(material.universal[name]) if name in material.universal else None,
        }
    return found


def edges(material: Material) -> list[Values]:
    """One entry for every edge of every tracking. ValueError when counts do not add up."""
    return [
        _edge(tracking, parent, child, material)
        for tracking in material.trackings
        for parent, child in material.parameters.edges
        if f"match/{tracking}/{parent}/{child}" in material.results
    ]


def universal(material: Material) -> list[Values]:
    """Features that are found in every model of a tracking, as track found them."""
    return [
        {
            "tracking": tracking,
            "weakest_r": row["weakest_r"],
            "models": {
                name: {"feature": row[f"feature_{number}"], "correlation": row[f"r_{number}"]}
                for number, name in enumerate(models)
            },
        }
        for tracking, models in material.trackings.items()
        for row in material.universal.get(tracking, ())
    ]


def labels(material: Material) -> list[Values]:
    """The best feature of each model for each label, with its strongest contexts."""
    return [
        _label(tracking, models, row, material)
        for tracking, models in material.trackings.items()
        for row in material.figures.get(tracking, {}).get("labels", ())
    ]


def examples(material: Material) -> Values:
    """By tracking, the features of figures 3 and 4, with names for numbers; None for none."""
    return {
        tracking: {
            "universal": _universal_example(tracking, models, material),
            "failing": _failing_example(tracking, models, material),
        }
        for tracking, models in material.trackings.items()
        if tracking in material.figures
    }


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def _check(name: str, match: Mapping[str, Any]) -> None:
    """Every live feature has one fate; anything else is a mistake of the match stage."""
    if match["persist"] + match["disappear"] != match["alive_parent"]:
        raise ValueError(f"{name}: persist + disappear is not alive_parent")
    if match["persist"] + match["emerge"] != match["alive_child"]:
        raise ValueError(f"{name}: persist + emerge is not alive_child")


def _edge(tracking: str, parent: str, child: str, material: Material) -> Values:
    results = material.results
    match = results[f"match/{tracking}/{parent}/{child}"]
    _check(f"{tracking}: {parent} -> {child}", match)
    null = results.get(f"null/{tracking}/{parent}/{child}", {})
    ceiling = results.get(f"ceiling/{tracking}/{parent}", {})
    ceiling_child = results.get(f"ceiling/{tracking}/{child}", {})
    fields = section(material.spec, "tracking").get(tracking, {})
    share = _ratio(match["persist"], match["alive_parent"])
    share_any = _ratio(match["persist_any"], match["alive_parent"])
    return {
        "tracking": tracking,
        "dictionary": fields.get("dictionary"),
        "parent": parent,
        "child": child,
        "threshold": fields.get("threshold"),
        "min_firings": fields.get("min_firings"),
        **{key: match[key] for key in COUNTS},
        "share": share,
        "share_any": share_any,
        "inherited": _ratio(match["persist"], match["alive_child"]),
        "ceiling": ceiling.get("share"),
        "ceiling_any": ceiling.get("share_any"),
        "ceiling_child": ceiling_child.get("share"),
        "ceiling_child_any": ceiling_child.get("share_any"),
        "null": null.get("share"),
        "null_any": null.get("share_any"),
        "best_r": {
            "edge": match.get("best_r_parent"),
            "ceiling": ceiling.get("best_r_parent"),
            "null": null.get("best_r_parent"),
        },
        "share_of_ceiling": _ratio(share, ceiling.get("share")),
        "share_of_ceiling_any": _ratio(share_any, ceiling.get("share_any")),
    }


def _context(context: Mapping[str, Any], corpora: Sequence[str], names: Sequence[str]) -> Values:
    """A context with the name of its corpus; `names` are the fields to keep as they are."""
    number = context.get("corpus")
    corpus = corpora[number] if isinstance(number, int) and number < len(corpora) else None
    return {"corpus": corpus, **{name: list(context[name]) for name in names}}


def _label(
    tracking: str, models: Sequence[str], row: Mapping[str, Any], material: Material
) -> Values:
    model = models[row["model"]]
    corpora = material.corpora_of(tracking)
    contexts = material.contexts.get((tracking, model, row["feature"]), ())
    return {
        "tracking": tracking,
        "label": row["label"],
        "model": model,
        **{key: row[key] for key in ("feature", "precision", "recall", "f1")},
        "persists_in": [models[number] for number in row["persists_in"]],
        "contexts": [_context(one, corpora, ("tokens", "activations")) for one in contexts],
    }


def _universal_example(tracking: str, models: Sequence[str], material: Material) -> Values | None:
    example = material.figures[tracking].get("universal_example")
    if not example:
        return None
    corpora = material.corpora_of(tracking)
    return {
        **{key: example.get(key) for key in ("label", "reason", "features", "correlations")},
        "models": list(models),
        "contexts": [
            _context(one, corpora, ("tokens", "activations")) for one in example["contexts"]
        ],
    }


def _failing_example(tracking: str, models: Sequence[str], material: Material) -> Values | None:
    example = material.figures[tracking].get("failing_example")
    if not example:
        return None
    corpora = material.corpora_of(tracking)
    return {
        **{key: example.get(key) for key in ("feature", "closest", "r", "label", "reason")},
        "parent": models[example["parent"]],
        "child": models[example["child"]],
        "contexts": [
            _context(one, corpora, ("tokens", "parent", "child")) for one in example["contexts"]
        ],
    }
