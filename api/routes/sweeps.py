"""The sweeps of an experiment over REST: points, as JSON or CSV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from api.backend import BackendDependency
from api.http.accept import CSV, JSON, csv_answer, negotiated
from api.http.parameters import Number, SweepName
from api.http.problems import PROBLEMS
from api.lineage.names import Lineage, open_lineage
from api.routes.models import evaluation
from shared.lineage.models import Evaluation, by_corpus
from shared.lineage.roles import Role

router = APIRouter(prefix="/v1/experiments", tags=["results"])

COLUMNS = (
    "sweep",
    "at_zero",
    "at_one",
    "t",
    "corpus",
    "loss",
    "accuracy",
    "reference",
    "reference_loss",
    "reference_accuracy",
)


class SweepPoint(BaseModel):
    """The merge at one t, evaluated by corpus."""

    t: float = Field(description="0 is the model at_zero, 1 the model at_one.")
    corpora: dict[str, Evaluation]


class Reference(BaseModel):
    """The model beside which the curves are drawn; null values until it is evaluated."""

    model: str
    corpora: dict[str, Evaluation] | None


class SweepView(BaseModel):
    """A sweep; `points` is null until it is finished in the listing of all sweeps."""

    name: str
    method: str
    at_zero: str
    at_one: str
    steps: int
    evaluate_on: list[str]
    finished: bool
    key: str
    points: list[SweepPoint] | None
    reference: Reference | None


@router.get("/{number}/sweeps")
def sweeps(number: Number, backend: BackendDependency) -> list[SweepView]:
    """Every sweep of the experiment, as far as it is finished."""
    lineage = open_lineage(backend, number)
    return [_view(lineage, name) for name in lineage.section("sweeps")]


@router.get(
    "/{number}/sweeps/{name}",
    response_model=SweepView,
    responses={200: {"content": {CSV: {"schema": {"type": "string"}}}}, **PROBLEMS(406)},
)
def sweep(number: Number, name: SweepName, backend: BackendDependency, request: Request) -> Any:
    """The points of a finished sweep; with `Accept: text/csv` one row for each point and corpus."""
    lineage = open_lineage(backend, number)
    lineage.named("sweeps", name, "sweep")
    form = negotiated(request, (JSON, CSV))
    lineage.manifest(Role.sweep(name))
    view = _view(lineage, name)
    return _csv(view) if form == CSV else view


def _view(lineage: Lineage, name: str) -> SweepView:
    fields = lineage.section("sweeps")[name]
    on = list(fields.get("evaluate_on") or lineage.corpora)
    made = lineage.finished(Role.sweep(name))
    reference = fields.get("reference")
    return SweepView(
        name=name,
        **{key: fields[key] for key in ("method", "at_zero", "at_one", "steps")},
        evaluate_on=on,
        finished=made is not None,
        key=lineage.roles[Role.sweep(name)],
        points=None
        if made is None
        else [
            SweepPoint(t=point["t"], corpora=by_corpus(point["corpora"], on))
            for point in made.results["points"]
        ],
        reference=None
        if reference is None
        else Reference(
            model=reference,
            corpora=evaluation(lineage, Role.evaluate(reference)),
        ),
    )


def _csv(view: SweepView) -> Response:
    """The same columns as sweeps.csv of the report."""
    return csv_answer(f"sweep_{view.name}", COLUMNS, _rows(view))


def _rows(view: SweepView) -> Iterator[tuple[object, ...]]:
    reference = view.reference
    known = reference.corpora if reference and reference.corpora else {}
    for point in view.points or ():
        for corpus, measured in point.corpora.items():
            base = known.get(corpus)
            yield (
                view.name,
                view.at_zero,
                view.at_one,
                point.t,
                corpus,
                measured.loss,
                measured.accuracy,
                reference.model if reference else None,
                base.loss if base else None,
                base.accuracy if base else None,
            )
