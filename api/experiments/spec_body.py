"""The body of a request that holds a spec."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi_problem.error import StatusProblem

from api.http.bodies import limited
from shared.spec import SPEC_LIMIT

SPEC_TYPES = ("application/json", "application/yaml", "application/x-yaml", "text/yaml")
_UTF8 = ("", "utf-8", "utf8", "us-ascii")
_YAML = {"schema": {"type": "string"}}
SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A spec, YAML or JSON; GET /v1/schema describes it.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            **dict.fromkeys(SPEC_TYPES[1:], _YAML),
        },
    }
}


class MediaTypeProblem(StatusProblem):
    """The body is of a kind that this route does not read."""

    title = "Unsupported media type."
    status = 415


def _check_type(header: str) -> None:
    kind, _, parameters = header.partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() not in SPEC_TYPES:
        given = f"is {kind.strip()[:100]}" if kind.strip() else "is missing"
        raise MediaTypeProblem(
            detail=f"Content-Type: {given}, must be one of {', '.join(SPEC_TYPES)}",
            headers={"Accept": ", ".join(SPEC_TYPES)},
        )
    if "charset=" in parameters.lower() and charset not in _UTF8:
        raise MediaTypeProblem(detail=f"Content-Type: a spec is UTF-8 text, not {charset[:40]}")


async def _spec_body(request: Request) -> bytes:
    _check_type(request.headers.get("content-type", ""))
    return b"".join([piece async for piece in limited(request, SPEC_LIMIT, "the spec")])


SpecBody = Annotated[bytes, Depends(_spec_body)]
