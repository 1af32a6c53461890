"""Stability grids and crosscoders of results.json."""

from __future__ import annotations

from typing import Any

from services.analyzer.report.family import section
from services.analyzer.report.inputs.inputs import ReportInputs
from shared.lineage.crosscoders import crosscoder_of
from shared.lineage.roles import Role, roles_of
from shared.lineage.stability import cells_of, recommend

Values = dict[str, Any]
SETTINGS = ("model", "hook", "layer", "variant", "tokens", "seeds", "threshold", "min_firings")


def stability(inputs: ReportInputs) -> Values:
    """By name, the cells of a grid over dictionary size and sparsity, and the one to use.

    `recommended` is the number of the cell that shared.lineage.stability recommends, or None.
    """
    grids = {}
    for name, settings in sorted(inputs.parameters.cells.items()):
        cells = cells_of(name, settings, inputs)
        fields = section(inputs.spec, "stability")[name]
        grids[name] = {
            **{key: fields.get(key) for key in SETTINGS},
            "cells": [cell.model_dump() for cell in cells],
            "recommended": recommend(cells),
        }
    return grids


def crosscoders(inputs: ReportInputs) -> Values:
    """By group of the spec and "parent->child", what one dictionary of two models found.

    `kinds_shares` are shares of the live features (all kinds but dead).
    """
    place = {name: number for number, name in enumerate(inputs.models)}
    names = [role.names for role in roles_of(inputs.roles, "crosscoder")]
    groups: dict[str, Values] = {}
    for group, parent, child in sorted(names, key=lambda n: (n[0], place[n[1]], place[n[2]])):
        results = inputs.results(Role.crosscoder(group, parent, child))
        crosscoder = crosscoder_of(parent, child, results)
        groups.setdefault(group, {})[f"{parent}->{child}"] = {
            **crosscoder.model_dump(),
            "live": crosscoder.live,
            "kinds_shares": crosscoder.kinds_shares,
        }
    return groups
