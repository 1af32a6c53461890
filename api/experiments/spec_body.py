"""The body of a request that holds a spec."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi_problem.error import StatusProblem

from api.http.bodies import limited
from shared.spec import SPEC_LIMIT

SPEC_TYPES = ("application/json", "application/yaml", "application/x-yaml", "text/yaml")
_UTF8 = ("", "utf-8", "utf8", "us-ascii")
_JSON = {
    "schema": {"$ref": "#/components/schemas/Spec"},
    "example": {
        "version": 1,
        "name": "stories-and-lua",
        "tokenizer": {"train": {"vocab_size": 2048, "corpora": ["stories", "lua"]}},
        "corpora": {
            "stories": {"builtin": "stories", "max_tokens": 400_000},
            "lua": {"builtin": "lua", "max_tokens": 400_000},
        },
        "models": {
            "base": {
                "pretrain": {
                    "corpora": ["stories"],
                    "architecture": {
                        "hidden": 128,
                        "mlp": 256,
                        "heads": 4,
                        "kv_heads": 2,
                        "layers": 1,
                    },
                }
            },
            "lua": {"finetune": {"parent": "base", "corpora": ["lua"]}},
            "merged": {"merge": {"method": "slerp", "at_zero": "base", "at_one": "lua", "t": 0.5}},
        },
    },
}
_YAML = {"schema": {"type": "string", "description": "The same as the text of a YAML document."}}
SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A spec, YAML or JSON. Names in it refer to each other, which is checked.",
        "content": {SPEC_TYPES[0]: _JSON, **dict.fromkeys(SPEC_TYPES[1:], _YAML)},
    }
}


class MediaTypeProblem(StatusProblem):
    """The body is of a media type that this route does not read."""

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
