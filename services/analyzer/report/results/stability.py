"""Stability grids and crosscoders of results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.analyzer.report.family import section
from services.analyzer.report.inputs.inputs import Material
from shared.lineage.roles import Role, roles_of
from shared.lineage.stability import recommend

Values = dict[str, Any]
MEASURED = ("l0", "explained_variance", "loss_recovered", "dead_share")
SHARES = ("share", "share_any", "share_mutual", "interval")
SETTINGS = ("model", "hook", "layer", "variant", "tokens", "seeds", "threshold", "min_firings")
SPARSITY = ("k", "l0", "l1")
CROSSCODER = (
    "features",
    "width",
    "l0",
    "explained_variance_parent",
    "explained_variance_child",
    "dead_share",
    "relative_norm",
    "vectors",
    "tokens",
)


def stability(material: Material) -> Values:
    """By name, the cells of a grid over dictionary size and sparsity, and the one to use.

    A cell has what was asked for (features, asked {k | l0 | l1}), means over its dictionaries (l0,
    explained_variance, loss_recovered, dead_share) and the ceiling that its two seeds reach.
    `recommended` is the number of the cell that shared.lineage.stability recommends, or None.
    """
    found = {}
    for name, asked in sorted(material.parameters.cells.items()):
        cells = [_cell(name, number, one, material) for number, one in enumerate(asked)]
        fields = section(material.spec, "stability").get(name) or {}
        found[name] = {
            **{key: fields.get(key) for key in SETTINGS},
            "cells": cells,
            "recommended": recommend(cells),
        }
    return found


def _cell(grid: str, number: int, asked: Mapping[str, float], material: Material) -> Values:
    roles = roles_of(sorted(material.results), "stability", grid, str(number), "quality")
    qualities = [material.results[role] for role in roles]
    ceiling = material.results.get(Role.cell_ceiling(grid, number), {})
    by, value = next(((key, asked[key]) for key in SPARSITY if key in asked), (None, None))
    return {
        "features": None if asked.get("features") is None else round(asked["features"]),
        "sparsity_by": by,
        "sparsity": value if value is not None else asked.get("sparsity"),
        **{name: _mean(qualities, name) for name in MEASURED},
        **{name.replace("share", "ceiling"): ceiling.get(name) for name in SHARES},
        "alive": ceiling.get("alive_parent"),
        "dictionaries": len(qualities),
    }


def _mean(results: Sequence[Mapping[str, Any]], name: str) -> float | None:
    known = [one[name] for one in results if one.get(name) is not None]
    return sum(known) / len(known) if known else None


def crosscoders(material: Material) -> Values:
    """By group of the spec and "parent->child", what one dictionary of two models found.

    `kinds_shares` are shares of the live features (all kinds but dead).
    """
    place = {name: number for number, name in enumerate(material.models)}
    found: dict[str, Values] = {}
    groups = [role.names for role in roles_of(material.results, "crosscoder")]
    for group, parent, child in sorted(groups, key=lambda g: (g[0], place[g[1]], place[g[2]])):
        results = material.results[Role.crosscoder(group, parent, child)]
        kinds = dict(results.get("kinds") or {})
        live = sum(number for kind, number in kinds.items() if kind != "dead")
        found.setdefault(group, {})[f"{parent}->{child}"] = {
            "parent": parent,
            "child": child,
            **{name: results.get(name) for name in CROSSCODER},
            "kinds": kinds,
            "live": live,
            "kinds_shares": {
                kind: number / live for kind, number in kinds.items() if live and kind != "dead"
            },
        }
    return found
