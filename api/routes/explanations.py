"""The explanations of a model's features over REST: searched, sorted, in pages or as CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Query, Request
from fastapi_pagination.cursor import CursorPage

from api.backend import BackendDependency
from api.http.accept import CSV, JSON, csv_answer, negotiated
from api.http.paging import PageParams, offset_of, place_page
from api.http.parameters import ModelName, Number
from api.http.problems import PROBLEMS, UnknownProblem
from api.lineage.explanations import (
    COLUMNS,
    ExplanationSort,
    ListedExplanation,
    corpora_of,
    explain_roles,
    selected,
)
from api.lineage.names import Lineage, chosen_tracking, open_lineage
from api.lineage.rows import Order
from api.routes.edges import Tracking
from shared.lineage.explanations.artifact import COLUMNS as STORED
from shared.lineage.explanations.artifact import FILE, with_names
from shared.lineage.explanations.feature_status import FeatureStatus
from shared.lineage.explanations.methods import BASELINE, METHODS, MethodName
from shared.lineage.explanations.shown import harmless
from shared.records.artifacts import Manifest

router = APIRouter(prefix="/v1/experiments", tags=["results"])


class ExplanationPage(CursorPage[ListedExplanation]):
    """A page of the explanations of a model."""


@router.get(
    "/{number}/explanations/{model}",
    response_model=ExplanationPage,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}, **PROBLEMS(406)},
)
def explanations(
    number: Number,
    model: ModelName,
    backend: BackendDependency,
    request: Request,
    page: PageParams,
    tracking: Tracking = None,
    method: Annotated[
        MethodName | None, Query(description="By whom; by default all that are finished.")
    ] = None,
    status: Annotated[
        list[FeatureStatus] | None,
        Query(description="Only features of this status; repeatable."),
    ] = None,
    search: Annotated[
        str | None,
        Query(description="Only explanations with this text; case is ignored.", max_length=200),
    ] = None,
    sort: Annotated[
        ExplanationSort, Query(description="What the explanations are sorted by.")
    ] = "feature",
    order: Annotated[Order, Query(description="Explanations without a value come last.")] = "asc",
) -> Any:
    """What the features of a model are about: every one by rules, some by the language model.

    With `Accept: text/csv` all of them as CSV, where an apostrophe precedes an explanation that a
    spreadsheet would take for a formula.
    """
    lineage = open_lineage(backend, number)
    lineage.model(model)
    name = chosen_tracking(lineage, tracking, _trackings(lineage, model))
    form = negotiated(request, (JSON, CSV))
    place = offset_of(page)
    manifests = _manifests(lineage, name, model, method)
    corpora = corpora_of(lineage, name)
    tables = {
        by: with_names(backend.files.table(manifest, FILE, STORED), by, corpora)
        for by, manifest in manifests.items()
    }
    found = selected(tables, status, search, sort, order)
    if form == CSV:
        return csv_answer(f"{name}_{model}_explanations", COLUMNS, _rows(found))
    labels = {by: manifest.results.get("label") for by, manifest in manifests.items()}
    items = [
        ListedExplanation.model_validate({**row, "label": labels[row["method"]]})
        for row in found.slice(place, page.size).to_pylist()
    ]
    return place_page(ExplanationPage, items, page, place, len(found))


def _trackings(lineage: Lineage, model: str) -> list[str]:
    """Trackings in which the model's features are explained; a 404 problem when there is none."""
    if not lineage.section("explain"):
        raise UnknownProblem(
            detail=f"{lineage.experiment.id} explains no features; its spec has no `explain`"
        )
    return [
        name
        for name in lineage.parameters.models
        if any(role in lineage.roles for role in explain_roles(name, model))
    ]


def _manifests(
    lineage: Lineage, tracking: str, model: str, wanted: MethodName | None
) -> dict[MethodName, Manifest]:
    """The finished explain stages; a 404 problem when what is wanted is not there yet."""
    roles = dict(zip(METHODS, explain_roles(tracking, model), strict=True))
    if wanted is not None:
        return {wanted: lineage.manifest(roles[wanted])}
    found = {
        method: manifest
        for method, role in roles.items()
        if (manifest := lineage.finished(role)) is not None
    }
    return found or {BASELINE.name: lineage.manifest(roles[BASELINE.name])}


def _rows(table: pa.Table) -> Iterator[Sequence[object]]:
    for batch in table.to_batches():
        for row in batch.to_pylist():
            row["explanation"] = harmless(row["explanation"])
            yield tuple(row[name] for name in COLUMNS)
