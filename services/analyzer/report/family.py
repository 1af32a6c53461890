"""The family of models in the order in which everything shows it; sections of the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A section of the spec; empty when the user left it out."""
    return spec.get(name) or {}


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
