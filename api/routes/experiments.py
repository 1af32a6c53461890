"""Experiments over REST: submit, look, cancel, retry."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from api.backend import Backend, BackendDependency
from api.bodies import read_start
from api.planning import PlanView, resolve_text, view_plan
from api.problems import UnknownProblem
from shared.attempts import Failure
from shared.experiments import Experiment, Standing
from shared.plan import Plan, PlannedStage, make_plan
from shared.reconcile import ExperimentState, StageState
from shared.spec import SPEC_LIMIT, spec_schema
from shared.store import NotFoundError

router = APIRouter(prefix="/v1", tags=["experiments"])

SPEC_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


class ExperimentView(BaseModel):
    """An experiment and how far it is; `counts` are numbers of stages by state."""

    id: str
    name: str
    state: ExperimentState
    submitted: str
    stages: int
    counts: dict[StageState, int]
    report: str | None


class StageView(BaseModel):
    """A stage of an experiment. Times are in seconds, memory in bytes."""

    key: str
    kind: str
    service: str
    title: str
    state: StageState
    inputs: dict[str, str]
    tokens: int | None
    flops: float | None
    progress: dict[str, Any] | None = None
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    reason: str | None = None


def report_stage(plan: Plan) -> PlannedStage | None:
    """The stage that writes the report."""
    return next((stage for stage in plan.stages if stage.kind == "report"), None)


def view(experiment: Experiment, standing: Standing) -> ExperimentView:
    """The short form of an experiment."""
    counts = dict.fromkeys(StageState, 0)
    for state in standing.stages.values():
        counts[state] += 1
    report = report_stage(experiment.plan)
    ready = report is not None and standing.stages[report.key] is StageState.DONE
    return ExperimentView(
        id=experiment.id,
        name=experiment.name,
        state=standing.state,
        submitted=experiment.submitted,
        stages=len(standing.stages),
        counts=counts,
        report=f"/experiments/{experiment.id}/report/report.html" if ready else None,
    )


@router.get("/schema", summary="JSON Schema of a spec")
def schema() -> dict[str, Any]:
    """The JSON Schema that a spec is validated against."""
    return spec_schema()


@router.post("/experiments", status_code=201, openapi_extra=SPEC_BODY)
async def submit(request: Request, backend: BackendDependency) -> ExperimentView:
    """Submit a spec (YAML or JSON). The same spec over the same data is the same experiment."""
    body = await read_start(request, SPEC_LIMIT)
    return await run_in_threadpool(_submit, backend, body)


def _submit(backend: Backend, body: bytes) -> ExperimentView:
    resolved = resolve_text(body, backend.uploads)
    experiment = backend.experiments.submit(
        resolved.spec.name, resolved.model_dump(mode="json"), make_plan(resolved)
    )
    backend.leases.ring()
    return view(experiment, backend.experiments.standing(experiment, backend.leases))


@router.post("/experiments/plan", openapi_extra=SPEC_BODY)
async def plan_only(request: Request, backend: BackendDependency) -> PlanView:
    """What submitting the spec would do; nothing is stored or queued."""
    body = await read_start(request, SPEC_LIMIT)
    return await run_in_threadpool(_dry_run, backend, body)


def _dry_run(backend: Backend, body: bytes) -> PlanView:
    return view_plan(make_plan(resolve_text(body, backend.uploads)), backend.artifacts)


@router.get("/experiments")
def listing(backend: BackendDependency) -> list[ExperimentView]:
    """All experiments, newest first."""
    found = [backend.experiments.get(number) for number in backend.experiments.ids()]
    return [view(one, backend.experiments.standing(one, backend.leases)) for one in found]


@router.get("/experiments/{number}")
def one(number: str, backend: BackendDependency) -> ExperimentView:
    """One experiment."""
    experiment = backend.experiments.get(number)
    return view(experiment, backend.experiments.standing(experiment, backend.leases))


@router.get("/experiments/{number}/stages")
def stages(number: str, backend: BackendDependency) -> list[StageView]:
    """Every stage with its state, in the order of the plan."""
    experiment = backend.experiments.get(number)
    standing = backend.experiments.standing(experiment, backend.leases)
    return [_stage_view(backend, stage, standing) for stage in experiment.plan.stages]


def _stage_view(backend: Backend, stage: PlannedStage, standing: Standing) -> StageView:
    state = standing.stages[stage.key]
    about = StageView(
        **stage.model_dump(
            include={"key", "kind", "service", "title", "inputs", "tokens", "flops"}
        ),
        state=state,
    )
    if state is StageState.RUNNING:
        return about.model_copy(update={"progress": standing.progress.get(stage.key)})
    if state is StageState.FAILED:
        failure: Failure | None = backend.book.failure(stage.key)
        return about.model_copy(update={"reason": failure.reason if failure else None})
    if state is StageState.DONE:
        manifest = backend.experiments.manifest(stage.key)
        return about.model_copy(
            update={
                "seconds": manifest.seconds,
                "peak_memory_bytes": manifest.peak_memory_bytes,
            }
        )
    return about


@router.get("/experiments/{number}/stages/{key}/log", response_class=Response)
def stage_log(number: str, key: str, backend: BackendDependency) -> Response:
    """The log of the stage's last ended attempt, as text."""
    experiment = backend.experiments.get(number)
    if all(stage.key != key for stage in experiment.plan.stages):
        raise UnknownProblem(detail=f"{number} has no stage {key}")
    for attempt in reversed(backend.book.attempts(key)):
        try:
            text = backend.book.log(key, attempt.attempt)
        except NotFoundError:
            continue
        return Response(text, media_type="text/plain; charset=utf-8")
    raise UnknownProblem(detail="no attempt has ended yet")


@router.post("/experiments/{number}/cancel")
def cancel(number: str, backend: BackendDependency) -> ExperimentView:
    """Stop working on an experiment; finished stages stay."""
    experiment = backend.experiments.get(number)
    backend.experiments.cancel(number)
    backend.leases.ring()
    return view(experiment, backend.experiments.standing(experiment, backend.leases))


@router.post("/experiments/{number}/retry")
def retry(number: str, backend: BackendDependency) -> ExperimentView:
    """Take a failed or cancelled experiment up again, from what exists."""
    experiment = backend.experiments.get(number)
    backend.experiments.retry(experiment, backend.leases)
    backend.leases.ring()
    return view(experiment, backend.experiments.standing(experiment, backend.leases))


@router.get("/experiments/{number}/results")
def results(number: str, backend: BackendDependency) -> Response:
    """results.json of the finished report."""
    stage = report_stage(backend.experiments.get(number).plan)
    manifest = backend.artifacts.manifest(stage.key) if stage else None
    if manifest is None:
        raise UnknownProblem(detail="the report is not finished")
    data = backend.store.get(backend.artifacts.object_name(manifest, "results.json"))
    return Response(data, media_type="application/json")
