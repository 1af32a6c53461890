"""The pages: all experiments, one experiment while it runs, its report."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from fastapi.templating import Jinja2Templates

from api.backend import BackendDependency
from api.problems import UnknownProblem
from api.routes.artifacts import found, stream_file
from api.routes.experiments import listing, one, report_stage, stages

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(directory=Path(__file__).parent / "templates")


@router.get("/", response_class=HTMLResponse)
def index(request: Request, backend: BackendDependency) -> HTMLResponse:
    """All experiments, and a place to submit one."""
    return templates.TemplateResponse(request, "index.html", {"experiments": listing(backend)})


@router.get("/experiments/{number}", response_class=HTMLResponse)
def experiment(request: Request, number: str, backend: BackendDependency) -> HTMLResponse:
    """One experiment; the page keeps itself up to date."""
    about = {
        "experiment": one(number, backend),
        "stages": stages(number, backend),
    }
    return templates.TemplateResponse(request, "experiment.html", about)


@router.get("/experiments/{number}/report/{file:path}", response_class=StreamingResponse)
def report(number: str, file: str, backend: BackendDependency) -> StreamingResponse:
    """A file of the finished report."""
    stage = report_stage(backend.experiments.get(number).plan)
    if stage is None or not backend.artifacts.exists(stage.key):
        raise UnknownProblem(detail="the report is not finished")
    return stream_file(backend, found(backend, stage.key), file)
