"""The OpenAPI document: what FastAPI generates, completed by what it cannot know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from api.security.auth import BASIC, BEARER

Model = tuple[type[BaseModel], Literal["validation", "serialization"]]

DESCRIPTION = """
Submit an experiment, watch its stages, read its models, features and matches.

Every error is a problem document (RFC 9457, `application/problem+json`): `detail` has one sentence
per problem, `errors` the same by field. Send an API key as bearer token, or as the password of HTTP
Basic with any user name. An installation without keys answers only its own machine.
"""
TAGS = [
    {"name": "experiments", "description": "Submit, follow, cancel and retry experiments."},
    {"name": "stages", "description": "The stages of an experiment: attempts, logs, failures."},
    {"name": "results", "description": "Models, sweeps, edges and features, as they become ready."},
    {"name": "corpora", "description": "Uploads that specs name: corpora, tokenizers, models."},
    {"name": "artifacts", "description": "What stages made: manifests and files."},
    {"name": "health", "description": "For probes; needs no key."},
]


class FieldProblem(BaseModel):
    """What is wrong with one field of the input."""

    field: str = Field(description="Path of the field, as the input names it.")
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="The kind of problem, for programs.")
    title: str = Field(description="The kind of problem, for people.")
    status: int
    detail: str | None = Field(None, description="What was wrong, a sentence per line.")
    errors: list[FieldProblem] | None = Field(None, description="The same, by field.")
    id: str | None = Field(None, description="Of a 500: its id in the server's log.")


def operation_id(route: APIRoute) -> str:
    """A name for generated clients: "experiments_submit"."""
    return f"{route.tags[0]}_{route.name}" if route.tags else route.name


def document(app: FastAPI, *models: Model) -> None:
    """Complete an application's document: problems, security, models that only it refers to."""
    generated = app.openapi

    def complete() -> dict[str, Any]:
        return app.openapi_schema or _completed(generated, models)

    app.openapi = complete  # type: ignore[method-assign]


def _completed(generated: Callable[[], dict[str, Any]], more: Sequence[Model]) -> dict[str, Any]:
    schema = generated()
    _, models = models_json_schema(
        [(Problem, "serialization"), (FieldProblem, "serialization"), *more],
        ref_template="#/components/schemas/{model}",
    )
    components = schema.setdefault("components", {})
    components.setdefault("schemas", {}).update(models["$defs"])
    components["securitySchemes"] = {
        name: scheme.model.model_dump(mode="json", by_alias=True, exclude_none=True)
        for name, scheme in (("key", BEARER), ("password", BASIC))
    }
    for operations in schema["paths"].values():
        for operation in operations.values():
            _without_item_schema(operation)
            needs_key = "health" not in operation.get("tags", ())
            operation["security"] = [{"key": []}, {"password": []}] if needs_key else []
    return schema


def _without_item_schema(operation: dict[str, Any]) -> None:
    """Remove FastAPI's `itemSchema` from event streams: it is a keyword of OpenAPI 3.2."""
    for response in operation["responses"].values():
        for body in response.get("content", {}).values():
            body.pop("itemSchema", None)
