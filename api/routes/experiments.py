"""Experiments over REST: submit, look, cancel, retry, delete."""

from __future__ import annotations

from typing import Annotated, Any

import yaml
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi_problem.error import ConflictProblem
from starlette.convertors import StringConvertor, register_url_convertor

from api.backend import Backend, BackendDependency
from api.experiments.describe import ExperimentView, look_at
from api.experiments.idempotency import IdempotencyKey
from api.experiments.listing import (
    ExperimentPage,
    Filters,
    PageParams,
    filters,
    page_of,
    page_params,
)
from api.experiments.planning import PlanView, resolve_text, view_plan
from api.experiments.spec_body import SPEC_BODY, SpecBody
from api.experiments.submission import submit_spec
from api.http.accept import JSON, negotiated
from api.http.parameters import Number
from api.http.problems import PROBLEMS
from api.security.auth import Caller, NotAllowed, Submitter
from shared.experiments.experiments import Card, Experiment
from shared.experiments.states import ExperimentState
from shared.plan import make_plan
from shared.records.releases import read_values
from shared.resolve.resolved import ResolvedSpec
from shared.spec import spec_schema

router = APIRouter(prefix="/v1", tags=["experiments"])

YAML = "application/yaml"
VARY = {"Vary": "Accept"}
LOCATION = {"Location": {"description": "Path of the experiment.", "schema": {"type": "string"}}}
SUBMITTED: dict[int | str, dict[str, Any]] = {
    201: {"description": "The new experiment.", "headers": LOCATION},
    200: {
        "description": "The experiment, which was submitted before.",
        "model": ExperimentView,
        "headers": LOCATION,
    },
}
SPEC, RESOLVED = ({"$ref": f"#/components/schemas/{name}"} for name in ("Spec", "ResolvedSpec"))
DOCUMENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The document, as JSON or (Accept: application/yaml) as YAML.",
        "content": {kind: {"schema": {"anyOf": [SPEC, RESOLVED]}} for kind in (JSON, YAML)},
    }
}


class _ExperimentConvertor(StringConvertor):
    """A part of a path that may be an experiment's id: `plan` is a resource of its own."""

    regex = "(?!plan$)[^/]+"


register_url_convertor("experiment", _ExperimentConvertor())


class RunningProblem(ConflictProblem):
    """The experiment has to stop first."""

    title = "Still running."


def _experiment(number: Number, backend: BackendDependency) -> Experiment:
    return backend.experiments.get(number)


def _card(number: Number, backend: BackendDependency) -> Card:
    return backend.experiments.card(number)


FoundExperiment = Annotated[Experiment, Depends(_experiment)]
FoundCard = Annotated[Card, Depends(_card)]  # many of them fit into memory, plans do not


@router.get("/schema", summary="JSON Schema of a spec")
def schema() -> dict[str, Any]:
    """The JSON Schema that a spec is validated against."""
    return spec_schema()


@router.post(
    "/experiments",
    status_code=201,
    openapi_extra=SPEC_BODY,
    responses=SUBMITTED | PROBLEMS(413, 415),
)
def submit(
    body: SpecBody,
    key: IdempotencyKey,
    caller: Submitter,
    backend: BackendDependency,
    response: Response,
) -> ExperimentView:
    """Submit a spec (YAML or JSON). The same spec over the same data is the same experiment.

    Answers 201 when this request created the experiment, and 200 when it existed: submitted before,
    by anybody, or by an earlier request with the same Idempotency-Key and the same body. Unlike the
    spec alone, the key still stands for the same experiment when an upload or a hub branch that the
    spec names has other content by now.
    """
    experiment, created = submit_spec(backend, caller, body, key)
    if created:
        backend.leases.ring()
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/v1/experiments/{experiment.id}"
    return look_at(backend, experiment)


@router.post("/experiments/plan", openapi_extra=SPEC_BODY, responses=PROBLEMS(413, 415))
def preview(body: SpecBody, backend: BackendDependency) -> PlanView:
    """What submitting the spec would do, by stage and in total; nothing is stored or queued."""
    resolved = resolve_text(body, backend.uploads, backend.settings)
    return view_plan(make_plan(resolved), backend.experiments.survey)


@router.get("/experiments", name="list")
def listing(
    params: Annotated[PageParams, Depends(page_params)],
    wanted: Annotated[Filters, Depends(filters)],
    backend: BackendDependency,
) -> ExperimentPage:
    """Experiments, newest first. Pages do not shift while new ones are submitted."""
    return page_of(backend, params, wanted)


@router.get("/experiments/{number:experiment}", name="get")
def get(experiment: FoundCard, backend: BackendDependency) -> ExperimentView:
    """One experiment."""
    return look_at(backend, experiment)


@router.get("/experiments/{number}/spec", responses=DOCUMENT | PROBLEMS(406))
def spec(
    request: Request,
    experiment: FoundExperiment,
    resolved: Annotated[
        bool, Query(description="With the commits and digests that everything was pinned to.")
    ] = False,
) -> Response:
    """The spec with its defaults written out: submitted again, it is the same experiment."""
    document = read_values(ResolvedSpec, experiment.spec, f"the spec of {experiment.id}")
    shown = document if resolved else document.spec
    if negotiated(request, (JSON, YAML)) == JSON:
        text = shown.model_dump_json(exclude_none=True)
        return Response(text, media_type=JSON, headers=VARY)
    values = shown.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return Response(text, media_type=YAML, headers=VARY)


@router.get("/experiments/{number}/plan")
def plan(experiment: FoundExperiment, backend: BackendDependency) -> PlanView:
    """The plan of a submitted experiment, with what exists of it by now."""
    return view_plan(experiment.plan, backend.experiments.survey)


@router.post("/experiments/{number}/cancel")
def cancel(experiment: FoundCard, backend: BackendDependency, caller: Submitter) -> ExperimentView:
    """Cancel an experiment; finished stages are kept, and stages that another experiment needs go
    on. Only for its owner, or a key with the scope `admin`.
    """
    _check_owner(caller, experiment)
    backend.experiments.cancel(experiment.id)
    backend.leases.ring()
    return look_at(backend, experiment)


@router.post("/experiments/{number}/retry")
def retry(
    experiment: FoundExperiment, backend: BackendDependency, caller: Submitter
) -> ExperimentView:
    """Resume a failed or cancelled experiment from what exists. Only for its owner, or a key with
    the scope `admin`.
    """
    _check_owner(caller, experiment)
    backend.experiments.retry(experiment, backend.leases)
    backend.leases.ring()
    return look_at(backend, experiment)


@router.delete("/experiments/{number:experiment}", status_code=204, responses=PROBLEMS(409))
def delete(experiment: FoundExperiment, backend: BackendDependency, caller: Submitter) -> None:
    """Delete an experiment that is not running. Its artifacts stay until garbage is collected, and
    are used again when the spec is submitted again. Only for its owner, or a key with the scope
    `admin`.
    """
    _check_owner(caller, experiment)
    if _state(backend, experiment) is ExperimentState.RUNNING:
        raise RunningProblem(detail=f"{experiment.id} is running; cancel it first")
    backend.experiments.delete(experiment, backend.leases)
    backend.leases.ring()


def _check_owner(caller: Caller, experiment: Experiment | Card) -> None:
    if not caller.owns(experiment.owner):
        raise NotAllowed(detail=f"{experiment.id} belongs to {experiment.owner or 'nobody'}")


def _state(backend: Backend, experiment: Experiment) -> ExperimentState:
    return backend.experiments.standing(experiment, backend.leases).state
