"""An edge as REST shows it: what shared.lineage says of it, at any threshold, and where it is."""

from __future__ import annotations

from fastapi_pagination.cursor import CursorPage
from pydantic import Field

from api.lineage.explanations import ExplainedEdge, explained_edge
from api.lineage.names import Lineage
from api.lineage.rows import NamedMatchRow
from api.lineage.source import AtThreshold
from api.stored.matches import check_threshold, stored_floor
from shared.lineage.edge import Edge, edge_of, roles_beside
from shared.lineage.explanations.methods import METHODS
from shared.lineage.pair import pair_of
from shared.lineage.roles import Role


class EdgeView(Edge):
    """How the features of a parent fare in a child. What is not finished yet is null.

    persist, split, merge and disappear count the parent's features, emerge, split_child
    and merge_child of the child's. share is persist / alive_parent, inherited persist /
    alive_child. Names without a suffix refer to one-to-one matches; `*_any` counts a feature when
    any live feature of the other model reaches the threshold, `*_mutual` when each is the other's
    best.

    ceiling is the share between two dictionaries of the parent (ceiling_child: of the child), null
    the share after the child's documents were shifted, unrelated that of a dictionary started from
    the parent's on an untrained model; baseline is the larger of the last two, and adjusted is
    (share - baseline) / (ceiling - baseline). crossed is the share between other seeds. Intervals
    hold 95 % of a bootstrap over documents; they and cosines are null at another than the planned
    threshold, where the null is known at 0.5, 0.55 .. 0.95 only. significant counts live features
    with a false discovery rate of 5 %. best_r holds histograms of the highest r of each live
    feature of the parent.
    """

    relation: str = Field(description="edge, or ancestor where the parent is further up.")
    finished: bool
    key: str
    planned_threshold: float
    floor: float = Field(description="The lowest threshold that can be asked for.")
    tokens: int | None = Field(description="Token positions of the stream.")
    persist_any_child: int | None = Field(
        description="Features of the child whose best r reaches the threshold."
    )
    explained: list[ExplainedEdge] = Field(
        description="By method, at the planned threshold; empty where nothing is explained."
    )
    not_finished: list[str] = Field(description="Stages of this edge that are still to come.")


class MatchPage(CursorPage[NamedMatchRow]):
    """A page of the features of one side of an edge."""


class EdgeMatches(EdgeView):
    """An edge with a page of one side's features."""

    side: str
    matches: MatchPage


def relation(lineage: Lineage, tracking: str, parent: str, child: str) -> str | None:
    """What a pair is in a tracking: "edge", "ancestor", or None where it is not matched."""
    pair = (tracking, parent, child)
    for role, word in ((Role.match(*pair), "edge"), (Role.ancestor(*pair), "ancestor")):
        if role in lineage.roles:
            return word
    return None


def match_role(lineage: Lineage, tracking: str, parent: str, child: str) -> Role:
    """The role of the match of an edge or of a pair of an ancestor and a descendant."""
    pair = (tracking, parent, child)
    known = relation(lineage, *pair)
    return Role.ancestor(*pair) if known == "ancestor" else Role.match(*pair)


def edge_view(
    lineage: Lineage, tracking: str, parent: str, child: str, threshold: float | None
) -> EdgeView:
    """An edge as far as it is finished; a 422 problem when the threshold is below its floor."""
    role = match_role(lineage, tracking, parent, child)
    key = lineage.roles[role]
    parameters = lineage.experiment.plan.stage(key).parameters
    planned = parameters["threshold"]
    at = planned if threshold is None else threshold
    check_threshold(at, parameters)
    pair, source = pair_of(role, lineage.spec, at), AtThreshold(lineage, planned, at)
    match = source.results(role)
    explained = [Role.explained_edge(tracking, method, parent, child) for method in METHODS]
    return EdgeView(
        **dict(edge_of(pair, source)),
        relation="ancestor" if role.kind == "ancestor" else "edge",
        finished=bool(match),
        key=key,
        planned_threshold=planned,
        floor=stored_floor(parameters),
        tokens=match.get("tokens"),
        persist_any_child=match.get("persist_any_child"),
        explained=explained_edge(lineage, tracking, parent, child) if at == planned else [],
        not_finished=lineage.unfinished([role, *roles_beside(pair), *explained]),
    )
