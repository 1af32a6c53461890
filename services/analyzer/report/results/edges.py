"""Edges of results.json: what shared.lineage says of every edge and ancestor pair."""

from __future__ import annotations

from typing import Any

from services.analyzer.report.inputs.inputs import ReportInputs
from shared.lineage.counts import CHILD_FATES, PARENT_FATES
from shared.lineage.edge import Edge, edge_of
from shared.lineage.pair import pair_of
from shared.lineage.roles import Role, roles_of

Values = dict[str, Any]


def edges(inputs: ReportInputs) -> list[Values]:
    """One entry for every edge of every tracking. ValueError when counts do not add up."""
    roles = [
        Role.match(tracking, parent, child)
        for tracking in inputs.trackings
        for parent, child in inputs.parameters.edges
    ]
    return [_values(role, inputs) for role in roles if role in inputs.roles]


def ancestors(inputs: ReportInputs) -> list[Values]:
    """The same for pairs of an ancestor and a descendant that is not its child, in their order."""
    place = {name: number for number, name in enumerate(inputs.models)}

    def order(role: Role) -> tuple[str, int, int]:
        tracking, ancestor, model = role.names
        return tracking, place[ancestor], place[model]

    return [_values(role, inputs) for role in sorted(roles_of(inputs.roles, "ancestor"), key=order)]


def _values(role: Role, inputs: ReportInputs) -> Values:
    edge = edge_of(pair_of(role, inputs.spec), inputs)
    _check(edge)
    return edge.model_dump()


def _check(edge: Edge) -> None:
    """Every live feature has one fate; anything else is a mistake of the match stage."""
    for side, fates in (("alive_parent", PARENT_FATES), ("alive_child", CHILD_FATES)):
        if sum(getattr(edge, fate) for fate in fates) != getattr(edge, side):
            name = f"{edge.tracking}: {edge.parent} -> {edge.child}"
            raise ValueError(f"{name}: {' + '.join(fates)} is not {side}")
