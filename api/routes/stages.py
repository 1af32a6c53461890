"""The stages of an experiment over REST, and their logs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.backend import BackendDependency
from api.experiments.describe import StageDetail, StageView, detail_stage, planned_stage, view_stage
from api.experiments.stage_log import LogReader, stream_log
from api.http.parameters import StageKey
from api.routes.experiments import FoundExperiment
from shared.experiments.states import StageState
from shared.stages.kinds import KINDS

router = APIRouter(prefix="/v1/experiments/{number}/stages", tags=["stages"])

TEXT = "text/plain; charset=utf-8"


def _check_kind(kind: str) -> str:
    if kind not in KINDS:
        context = {"kinds": ", ".join(KINDS)}
        raise PydanticCustomError("unknown_kind", "Input should be one of {kinds}", context)
    return kind


Kind = Annotated[str, AfterValidator(_check_kind), Field(json_schema_extra={"enum": list(KINDS)})]


@router.get("", name="list")
def listing(
    experiment: FoundExperiment,
    backend: BackendDependency,
    state: Annotated[
        list[StageState] | None, Query(description="In one of these states; repeatable.")
    ] = None,
    kind: Annotated[
        list[Kind] | None, Query(description="Of one of these kinds; repeatable.")
    ] = None,
) -> list[StageView]:
    """Every stage with its state, in the order of the plan: inputs come first."""
    standing = backend.experiments.standing(experiment, backend.leases)
    return [
        view_stage(backend, stage, standing)
        for stage in experiment.plan.stages
        if (not state or standing.stages[stage.key] in state) and (not kind or stage.kind in kind)
    ]


@router.get("/{key}", name="get")
def get(experiment: FoundExperiment, key: StageKey, backend: BackendDependency) -> StageDetail:
    """One stage: parameters, inputs, attempts, live progress, results, timings, failure."""
    stage = planned_stage(experiment, key)
    standing = backend.experiments.standing(experiment, backend.leases)
    return detail_stage(backend, stage, standing)


@router.get(
    "/{key}/log",
    response_class=PlainTextResponse,
)
def log(
    experiment: FoundExperiment,
    key: StageKey,
    backend: BackendDependency,
    attempt: Annotated[
        str | None, Query(description="An attempt at the stage; the last one by default.")
    ] = None,
    tail: Annotated[
        int | None, Query(ge=0, le=1_000_000, description="Only this many lines, the last ones.")
    ] = None,
    follow: Annotated[
        bool, Query(description="Keep sending what the attempt writes until it ends.")
    ] = False,
) -> StreamingResponse:
    """The log of an attempt as text. Of a running attempt, the end of the log, a moment old.

    With `follow` the answer ends when the attempt does. Where lines were written faster than they
    could be shown, a line in brackets says how many bytes are missing.
    """
    stage = planned_stage(experiment, key)
    reader = LogReader.of(backend, stage.key, attempt)
    return StreamingResponse(stream_log(reader, tail, follow), media_type=TEXT)
