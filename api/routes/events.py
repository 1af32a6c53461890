"""Server-sent events of an experiment: what a page or a terminal needs to keep up with it."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.backend import BackendDependency
from api.experiments.follow import Follower
from api.routes.experiments import FoundExperiment

router = APIRouter(prefix="/v1/experiments/{number}/events", tags=["experiments"])


def _event(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """The schema of one kind of event."""
    written = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {"event": {"const": name}, "data": written, "id": {"type": "string"}},
    }


# FastAPI describes events by `itemSchema`, a word of OpenAPI 3.2; in 3.1 `schema` is that of one.
EVENT = {
    "oneOf": [
        _event("stage", {"$ref": "#/components/schemas/StageEvent"}),
        _event("experiment", {"$ref": "#/components/schemas/ExperimentView"}),
        _event("progress", {"type": "object", "additionalProperties": {"type": "object"}}),
    ]
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events, each of one of these kinds.",
        "content": {"text/event-stream": {"schema": EVENT}},
    }
}


@router.get("", response_class=EventSourceResponse, responses=STREAM)
async def events(
    experiment: FoundExperiment,
    backend: BackendDependency,
    last_event_id: Annotated[
        str | None, Header(description="The last id that was received: only what changed since.")
    ] = None,
    since: Annotated[
        str | None, Query(description="The same for a first request, where no header can be set.")
    ] = None,
) -> AsyncIterable[ServerSentEvent]:
    """The experiment as it goes on, until it ends.

    - `stage`: a stage has another state than the client has seen: key, title, kind, state, and
      reason, seconds or peak_memory_bytes where the state has them. The first time all stages.
    - `experiment`: closes a group of those, with the id that stands for all that was sent; data as
      in GET one. The last event has the final state; then close, or the browser asks again.
    - `progress`: progress of the running stages by key. It has no id and is not repeated.

    The id says what the client has seen and no server remembers it, so nothing is missed whatever
    was restarted in between. One that makes no sense counts as none.
    """
    async for event in Follower(backend, experiment, last_event_id or since).events():
        yield event
