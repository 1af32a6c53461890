"""The edges of an experiment over REST: which features persist, disappear and emerge."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from api.backend import BackendDependency
from api.http.accept import CSV, JSON, csv_answer, negotiated
from api.http.paging import PageParams, offset_of, place_page
from api.http.parameters import ChildName, Number, ParentName
from api.http.problems import PROBLEMS, UnknownProblem
from api.lineage.edges import (
    EdgeMatches,
    EdgeView,
    MatchPage,
    edge_view,
    match_role,
    relation,
)
from api.lineage.explanations import names_of
from api.lineage.names import Lineage, chosen_tracking, open_lineage
from api.lineage.rows import (
    COLUMNS,
    Order,
    Sort,
    named,
    row_of,
    rows_of,
    selection,
)
from api.stored.matches import SideName
from shared.lineage.roles import Role
from shared.lineage.statuses import Status

router = APIRouter(prefix="/v1/experiments", tags=["results"])

Threshold = Annotated[
    float | None,
    Query(
        gt=0,
        le=1,
        description="Correlation from which a feature persists; the planned one by default. "
        "Another one is computed from the stored correlations, exactly.",
    ),
]
Tracking = Annotated[
    str | None,
    Query(description="Which tracking; may be left out where only one fits.", max_length=64),
]


def edges_of(lineage: Lineage) -> list[tuple[str, str, str]]:
    """Tracking, parent and child of every edge that is matched."""
    return [
        (tracking, parent, child)
        for tracking in lineage.section("tracking")
        for parent, child in lineage.parameters.edges
        if Role.match(tracking, parent, child) in lineage.roles
    ]


def ancestors_of(lineage: Lineage) -> list[tuple[str, str, str]]:
    """Tracking, ancestor and descendant of every pair that is matched beside the edges."""
    return [
        (tracking, old, new)
        for tracking, models in lineage.parameters.models.items()
        for new in models
        for old in models
        if Role.ancestor(tracking, old, new) in lineage.roles
    ]


@router.get("/{number}/edges")
def edges(
    number: Number,
    backend: BackendDependency,
    tracking: Tracking = None,
    threshold: Threshold = None,
    ancestors: Annotated[
        bool, Query(description="List pairs of an ancestor and a descendant instead of edges.")
    ] = False,
) -> list[EdgeView]:
    """Every edge of every tracking (or of one), as far as it is finished."""
    lineage = open_lineage(backend, number)
    if tracking is not None:
        lineage.named("tracking", tracking, "tracking")
    return [
        edge_view(lineage, *place, threshold)
        for place in (ancestors_of(lineage) if ancestors else edges_of(lineage))
        if tracking in (None, place[0])
    ]


@router.get(
    "/{number}/edges/{parent}/{child}",
    response_model=EdgeMatches,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}, **PROBLEMS(406)},
)
def edge(
    number: Number,
    parent: ParentName,
    child: ChildName,
    backend: BackendDependency,
    request: Request,
    page: PageParams,
    tracking: Tracking = None,
    threshold: Threshold = None,
    side: Annotated[SideName, Query(description="Whose features are listed.")] = "parent",
    status: Annotated[
        list[Status] | None, Query(description="Only features of this status; repeatable.")
    ] = None,
    sort: Annotated[Sort, Query(description="What the features are sorted by.")] = "feature",
    order: Annotated[Order, Query(description="Features without a value come last.")] = "asc",
) -> Any:
    """An edge and a page of one side's features with their partners.

    An ancestor and a descendant that are compared count as an edge here.

    With `Accept: text/csv` the features alone, all of them, as CSV.
    """
    lineage = open_lineage(backend, number)
    name = chosen_tracking(lineage, tracking, _trackings(lineage, parent, child))
    form = negotiated(request, (JSON, CSV))
    place = offset_of(page)
    key = lineage.manifest(match_role(lineage, name, parent, child)).key
    about = edge_view(lineage, name, parent, child, threshold)
    shown = backend.edges.at(key, about.threshold).side(side)
    wanted = selection(shown, status or (), sort, order)
    models = (parent, child) if side == "parent" else (child, parent)
    if form == CSV:
        own, other = (names_of(lineage, name, model) for model in models)
        rows = rows_of(shown, wanted, own, other)
        return csv_answer(f"{name}_{parent}_{child}_{side}", COLUMNS, rows)
    listed = [row_of(shown, one) for one in wanted[place : place + page.size].tolist()]
    partners = [row.partner for row in listed if row.partner is not None]
    own = names_of(lineage, name, models[0], [row.feature for row in listed])
    other = names_of(lineage, name, models[1], partners)
    items = [named(row, own, other) for row in listed]
    matches = place_page(MatchPage, items, page, place, len(wanted))
    return EdgeMatches(**dict(about), side=side, matches=matches)


def _trackings(lineage: Lineage, parent: str, child: str) -> list[str]:
    """Trackings that follow the edge or pair; a 404 problem when there is none of that name."""
    found = [name for name in lineage.section("tracking") if relation(lineage, name, parent, child)]
    if not found and (parent, child) not in lineage.parameters.edges:
        known = ", ".join(" -> ".join(edge) for edge in lineage.parameters.edges) or "none"
        raise UnknownProblem(
            detail=f"{lineage.experiment.id} has no edge {parent} -> {child}; its edges: {known}"
        )
    return found
