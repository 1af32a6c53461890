"""Errors as RFC 9457 problem documents, by fastapi-problem."""

from __future__ import annotations

import uuid
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_problem import handler
from fastapi_problem.error import NotFoundProblem, Problem, UnprocessableProblem
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from shared.errors import SpecError
from shared.readers import UploadError
from shared.store import NotFoundError

log = structlog.get_logger()


class UnknownProblem(NotFoundProblem):
    """There is no such thing."""

    title = "Not found."


class SpecProblem(UnprocessableProblem):
    """The spec or an upload cannot be used."""

    title = "The input cannot be used."


def _spec_error(_eh: Any, _request: Request, error: Exception) -> Problem:
    assert isinstance(error, SpecError)
    problems = [{"field": one.path, "message": one.message} for one in error.errors]
    return SpecProblem(detail=str(error), errors=problems)


def _upload_error(_eh: Any, request: Request, error: Exception) -> Problem:
    field = request.path_params.get("name", "upload")
    return SpecProblem(detail=str(error), errors=[{"field": field, "message": str(error)}])


def _request_error(_eh: Any, _request: Request, error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)
    problems = [
        {"field": ".".join(str(part) for part in one["loc"]), "message": one["msg"]}
        for one in error.errors()
    ]
    detail = "\n".join(f"{one['field']}: {one['message']}" for one in problems)
    return SpecProblem(detail=detail, errors=problems)


def _not_found(_eh: Any, _request: Request, error: Exception) -> Problem:
    return UnknownProblem(detail=f"there is no {error.args[0]!r}")


def _redis_error(_eh: Any, _request: Request, error: Exception) -> Problem:
    log.warning("Redis did not answer", error=str(error))
    return Problem(
        title="The queue does not answer.",
        detail="try again in a moment",
        status=503,
        headers={"Retry-After": "5"},
    )


def _unexpected(_eh: Any, request: Request, error: Exception) -> Problem:
    number = uuid.uuid4().hex[:12]
    log.error("request failed", id=number, path=request.url.path, exc_info=error)
    return Problem(title="Something went wrong.", detail=f"the log has it as {number}", status=500)


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    handler.add_exception_handler(
        app,
        handler.new_exception_handler(
            handlers={  # the first that fits is taken, so Exception comes last
                HTTPException: handler.http_exception_handler_,
                RequestValidationError: _request_error,
                SpecError: _spec_error,
                UploadError: _upload_error,
                NotFoundError: _not_found,
                RedisError: _redis_error,
                Exception: _unexpected,
            },
        ),
    )
