"""The family of models as the user's spec tells it: kinds, parents, order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KINDS = ("pretrain", "finetune", "merge", "import")


def document(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The user's document within a resolved spec (which may carry pinned revisions around it)."""
    inner = spec.get("spec")
    return inner if isinstance(inner, Mapping) and "models" not in spec else spec


def section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the spec; empty when the user left it out."""
    return spec.get(name) or {}


def kind_of(model: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Which of pretrain, finetune, merge and import a model of the spec is, and its fields."""
    for kind in KINDS:
        fields = model.get(kind, model.get(f"{kind}_"))  # import_, where a dump kept Python's name
        if fields is not None:
            return kind, fields
    raise ValueError(f"a model is one of {', '.join(KINDS)}, not {', '.join(model)}")


def checkpoint_of(name: str, models: Mapping[str, Any]) -> tuple[str, int] | None:
    """Model and step of a checkpoint `{model}@{step}`; None for a model of the spec itself."""
    model, _, step = name.rpartition("@")
    if name in models or model not in models or not step.isdecimal():
        return None
    return model, int(step)


def depths(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The length of the longest path from a root to each model; edges must have no cycle."""
    depth = dict.fromkeys(names, 0)
    for _ in names:
        for parent, child in edges:
            depth[child] = max(depth[child], depth[parent] + 1)
    return depth


def ordered(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> list[str]:
    """Names with parents before children; models of one depth stay in the order given."""
    depth = depths(names, edges)
    return sorted(names, key=lambda name: depth[name])
