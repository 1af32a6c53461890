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


# FastAPI describes events by `itemSchema`, a keyword of OpenAPI 3.2; in 3.1, `schema` is of one.
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
        str | None, Header(description="The last id received: only what changed since is sent.")
    ] = None,
    since: Annotated[
        str | None, Query(description="The same, for a first request that cannot set a header.")
    ] = None,
) -> AsyncIterable[ServerSentEvent]:
    """The events of an experiment until it ends.

    - `stage`: the state of a stage differs from what the client has seen: key, title, kind, state,
      and reason, seconds or peak_memory_bytes where the state has them. At first, all stages.
    - `experiment`: ends a group of those; its id stands for everything sent so far, its data are
      the experiment as GET returns it. The last one has the final state: close the stream then, or
      the browser asks again.
    - `progress`: progress of the running stages by key. It has no id and is not repeated.

    The id encodes what the client has seen and no server remembers it, so nothing is missed
    whatever was restarted in between. An id that makes no sense counts as none.
    """
    async for event in Follower(backend, experiment, last_event_id or since).events():
        yield event
