"""Experiments and stages as the API shows them: models of the answers, and what fills them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.backend import Backend
from shared.experiments.experiments import Card, Experiment, Standing
from shared.experiments.states import ExperimentState, StageState
from shared.plan import PlannedStage
from shared.records.attempts import Attempt, Failure
from shared.stages.report import REPORT
from shared.store import NotFoundError

ENDED = (ExperimentState.COMPLETE, ExperimentState.FAILED, ExperimentState.CANCELLED)
PLANNED = {"key", "kind", "service", "title", "inputs", "tokens", "flops", "bytes"}


class ExperimentView(BaseModel):
    """An experiment and how far it is; `counts` has the number of stages in each state.

    `owner` is the name of the API key that submitted it, empty on a server without keys. `report`
    is the path of the report's page once it is written.
    """

    id: str
    name: str
    owner: str
    state: ExperimentState
    submitted: str
    stages: int
    counts: dict[StageState, int]
    report: str | None


class StageView(BaseModel):
    """A stage of an experiment. Times are in seconds, sizes in bytes.

    `inputs` maps the name of an input to the key of its stage; `tokens`, `flops` and `bytes` are
    its expected cost. `progress` is set while it runs, `seconds` and `peak_memory_bytes` once it is
    done, `reason` when it failed for good.
    """

    key: str
    kind: str
    service: str
    title: str
    state: StageState
    inputs: dict[str, str]
    tokens: int | None
    flops: float | None
    bytes: int | None
    progress: dict[str, Any] | None = None
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    reason: str | None = None


class AttemptView(Attempt):
    """An attempt at a stage. Steps are those of the stage's checkpoints.

    `running` distinguishes an attempt at work from one whose worker was killed: neither has an
    `ending`.
    """

    running: bool


class StageTimings(BaseModel):
    """When, where and with what the attempt ran that made the artifact."""

    attempt: str
    host: str
    started: str
    finished: str
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    hardware: dict[str, Any]
    libraries: dict[str, str]


class StageDetail(StageView):
    """Everything about one stage; `results` and `timings` are set once it is done."""

    version: int
    parameters: dict[str, Any]
    attempts: list[AttemptView] = Field(description="Oldest first.")
    failure: Failure | None = None
    results: dict[str, Any] | None = None
    timings: StageTimings | None = None


def view_experiment(experiment: Experiment | Card, standing: Standing) -> ExperimentView:
    """The short form of an experiment."""
    card = experiment if isinstance(experiment, Card) else Card.of(experiment)
    counts = dict.fromkeys(StageState, 0)
    for state in standing.stages.values():
        counts[state] += 1
    ready = card.report is not None and standing.stages[card.report] is StageState.DONE
    return ExperimentView(
        id=card.id,
        name=card.name,
        owner=card.owner,
        state=standing.state,
        submitted=card.submitted,
        stages=len(standing.stages),
        counts=counts,
        report=f"/experiments/{card.id}/report/report.html" if ready else None,
    )


def look_at(backend: Backend, experiment: Experiment | Card) -> ExperimentView:
    """The short form of an experiment in its present state."""
    return view_experiment(experiment, backend.experiments.standing(experiment, backend.leases))


def view_stage(backend: Backend, stage: PlannedStage, standing: Standing) -> StageView:
    """The short form of a stage, with the fields that its state has."""
    view = StageView(**stage.model_dump(include=PLANNED), state=standing.stages[stage.key])
    return view.model_copy(update=_fields_of_state(backend, stage.key, standing))


def _fields_of_state(backend: Backend, key: str, standing: Standing) -> dict[str, Any]:
    match standing.stages[key]:
        case StageState.RUNNING:
            return {"progress": standing.progress.get(key)}
        case StageState.FAILED:
            failure = backend.book.failure(key)
            return {"reason": failure.reason if failure else None}
        case StageState.DONE:
            manifest = backend.experiments.manifest(key)
            return {
                "seconds": manifest.seconds,
                "peak_memory_bytes": manifest.peak_memory_bytes,
            }
        case _:
            return {}


def view_attempts(backend: Backend, key: str) -> list[AttemptView]:
    """All attempts at a stage, oldest first."""
    holder = backend.leases.live([key]).get(key)
    return [
        AttemptView(
            **attempt.model_dump(), running=attempt.ending is None and attempt.attempt == holder
        )
        for attempt in backend.book.attempts(key)
    ]


def detail_stage(backend: Backend, stage: PlannedStage, standing: Standing) -> StageDetail:
    """The long form of a stage."""
    view = view_stage(backend, stage, standing)
    results, timings = None, None
    if view.state is StageState.DONE:
        manifest = backend.experiments.manifest(stage.key)
        results = manifest.results
        timings = StageTimings(**manifest.model_dump(include=set(StageTimings.model_fields)))
    return StageDetail(
        **view.model_dump(),
        version=stage.version,
        parameters=stage.parameters,
        attempts=view_attempts(backend, stage.key),
        failure=backend.book.failure(stage.key) if view.state is StageState.FAILED else None,
        results=results,
        timings=timings,
    )


def planned_stage(experiment: Experiment, key: str) -> PlannedStage:
    """The stage with that key; NotFoundError when the plan has none."""
    try:
        return experiment.plan.stage(key)
    except KeyError:
        raise NotFoundError(f"{experiment.id}/stages/{key}") from None


def report_stage(experiment: Experiment) -> PlannedStage | None:
    """The stage that writes the report, None if the plan has none."""
    return next((stage for stage in experiment.plan.stages if stage.kind == REPORT.name), None)
