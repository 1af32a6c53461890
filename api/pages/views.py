"""The pages: all experiments, one experiment while it runs, its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.templating import Jinja2Templates

from api.backend import BackendDependency
from api.experiments.describe import report_stage, view_experiment, view_stage
from api.experiments.listing import Filters, PageParams, page_of, page_params
from api.experiments.seen import encode_seen
from api.http.problems import UnknownProblem
from api.routes.artifacts import find_manifest, send_file
from api.routes.experiments import FoundExperiment
from shared.experiments.states import ExperimentState

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")


def _chosen(
    name: Annotated[str, Query(max_length=100)] = "",
    state: ExperimentState | Literal[""] = "",
) -> Filters:
    """The filters from the page's form, which also sends empty fields."""
    return Filters(frozenset([state]) if state else None, name or None)


@router.get("/", response_class=HTMLResponse)
def index(
    request: Request,
    params: Annotated[PageParams, Depends(page_params)],
    wanted: Annotated[Filters, Depends(_chosen)],
    backend: BackendDependency,
) -> HTMLResponse:
    """Experiments page by page, and a place to submit one."""
    page = page_of(backend, params, wanted)
    links = {
        name: str(request.url.include_query_params(cursor=cursor).query)
        for name, cursor in (("newer", page.previous_page), ("older", page.next_page))
        if cursor
    }
    context = {"page": page, "links": links, "wanted": wanted, "states": list(ExperimentState)}
    return templates.TemplateResponse(request, "index.html", context)


@router.get("/experiments/{number}", response_class=HTMLResponse)
def experiment(
    request: Request, shown: FoundExperiment, backend: BackendDependency
) -> HTMLResponse:
    """One experiment; from this moment on, the page keeps itself up to date."""
    standing = backend.experiments.standing(shown, backend.leases)
    context = {
        "experiment": view_experiment(shown, standing),
        "stages": [view_stage(backend, stage, standing) for stage in shown.plan.stages],
        "seen": encode_seen([standing.stages[stage.key] for stage in shown.plan.stages]),
    }
    return templates.TemplateResponse(request, "experiment.html", context)


@router.get("/experiments/{number}/report/{file:path}", response_class=Response)
def report(
    request: Request, experiment: FoundExperiment, file: str, backend: BackendDependency
) -> Response:
    """A file of the finished report."""
    stage = report_stage(experiment)
    if stage is None or not backend.artifacts.exists(stage.key):
        raise UnknownProblem(detail="the report is not finished")
    return send_file(request, backend, find_manifest(backend, stage.key), file, inline=True)
