"""Errors as RFC 9457 problem documents, by fastapi-problem."""

from __future__ import annotations

import traceback
import uuid
from collections.abc import Iterable
from http import HTTPMethod, HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_problem import handler
from fastapi_problem.error import (
    ConflictProblem,
    NotFoundProblem,
    Problem,
    StatusProblem,
    UnprocessableProblem,
)
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match, Mount

from api.security.auth import CHALLENGES
from shared.data.readers import UploadError
from shared.records.releases import OtherReleaseError
from shared.resolve.hub import HubUnreachable
from shared.spec.errors import SpecError
from shared.store import NotFoundError, StoreError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 5  # seconds

log = structlog.get_logger()


class UnknownProblem(NotFoundProblem):
    """There is no such thing."""

    title = "Not found."


class SpecProblem(UnprocessableProblem):
    """The spec or an upload cannot be used."""

    title = "The input cannot be used."


class ReleaseProblem(ConflictProblem):
    """Another release of Lineament wrote it."""

    title = "Not of this release."


class AwayProblem(StatusProblem):
    """Something that this server needs does not answer."""

    title = "Try again in a moment."
    status = 503

    def __init__(self, detail: str, **extras: Any) -> None:
        super().__init__(detail=detail, headers={"Retry-After": str(RETRY_AFTER)}, **extras)


def PROBLEMS(*codes: int) -> dict[int | str, dict[str, Any]]:  # noqa: N802
    """The `responses` of routes that may answer with these problems, for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        code: {"description": HTTPStatus(code).phrase, "content": content} for code in sorted(codes)
    }


def _fields(pairs: Iterable[tuple[str, str]]) -> SpecProblem:
    """A problem per field, as the sentences of `detail` and again in `errors`.

    What a user sent may hold half a surrogate pair, which no answer can carry.
    """
    clean = [tuple(text.encode(errors="replace").decode() for text in pair) for pair in pairs]
    return SpecProblem(
        detail="\n".join(f"{field}: {message}" for field, message in clean),
        errors=[{"field": field, "message": message} for field, message in clean],
    )


def _spec_error(_eh: Any, _request: Request, error: Exception) -> Problem:
    assert isinstance(error, SpecError)
    if isinstance(error, HubUnreachable):
        return AwayProblem(detail=str(error))
    return _fields((item.path, item.message) for item in error.errors)


def _upload_error(_eh: Any, request: Request, error: Exception) -> Problem:
    problem = _fields([(request.path_params.get("name", "upload"), str(error))])
    problem.detail = str(error).encode(errors="replace").decode()  # it names the upload itself
    return problem


def _request_error(_eh: Any, _request: Request, error: Exception) -> Problem:
    assert isinstance(error, RequestValidationError)
    return _fields(
        (".".join(str(part) for part in item["loc"]), item["msg"]) for item in error.errors()
    )


def _http_error(_eh: Any, request: Request, error: Exception) -> Problem:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    headers, detail = dict(error.headers or {}), str(error.detail)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
        detail = f"{request.url.path} allows {headers['Allow']}"
    elif status == HTTPStatus.NOT_FOUND and detail == status.phrase:
        return UnknownProblem(detail=f"there is nothing at {request.url.path}")
    kind = f"http-{status.phrase.lower().replace(' ', '-')}"
    return Problem(f"{status.phrase}.", kind, detail, status=status, headers=headers)


def _allowed(request: Request) -> list[str]:
    """Every method that any route of the path answers.

    The routers' own Allow header has only the methods of the first such route.
    """
    root = request.scope.get("app_root_path", request.scope.get("root_path", ""))  # not a mount's
    allowed = []
    for method in HTTPMethod:
        scope = {**request.scope, "method": method.value, "root_path": root}
        routes = [route for route in request.app.routes if route.matches(scope)[0] is Match.FULL]
        reads = method in (HTTPMethod.GET, HTTPMethod.HEAD)
        if any(reads or not isinstance(route, Mount) for route in routes):  # mounted: static files
            allowed.append(method.value)
    return allowed


def _not_found(_eh: Any, _request: Request, error: Exception) -> Problem:
    return UnknownProblem(detail=f"there is no {error.args[0]!r}")


def _other_release(_eh: Any, _request: Request, error: Exception) -> Problem:
    return ReleaseProblem(detail=str(error))


def _redis_error(_eh: Any, _request: Request, error: Exception) -> Problem:
    log.warning("Redis did not answer", error=str(error))
    return AwayProblem(detail="the queue does not answer")


def _store_error(_eh: Any, _request: Request, error: Exception) -> Problem:
    log.warning("the store did not answer", error=str(error))
    return AwayProblem(detail="the object store does not answer")


def _gone(_eh: Any, _request: Request, _error: Exception) -> Problem:
    return Problem("Bad request.", detail="the body ended too early", status=400)


def _unexpected(_eh: Any, request: Request, error: Exception) -> Problem:
    number = uuid.uuid4().hex[:12]
    # The trace as text: a pretty one shows local variables, and the request's headers with them.
    trace = "".join(traceback.format_exception(error))
    log.error("request failed", id=number, path=request.url.path, exception=trace)
    return Problem(
        "Something went wrong.",
        detail=f"the server's log has it as {number}",
        status=500,
        id=number,
    )


_HANDLERS: dict[type[Exception], Any] = {  # the first that fits handles it: Exception comes last
    HTTPException: _http_error,
    RequestValidationError: _request_error,
    SpecError: _spec_error,
    UploadError: _upload_error,
    NotFoundError: _not_found,
    OtherReleaseError: _other_release,
    StoreError: _store_error,
    RedisError: _redis_error,
    ClientDisconnect: _gone,
    Problem: lambda _eh, _request, problem: problem,
    Exception: _unexpected,
}
_exceptions = handler.ExceptionHandler(handlers=_HANDLERS)


def answer(request: Request, error: Exception) -> Response:
    """The problem document that stands for an error."""
    response: Response = _exceptions(request, error)
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        for challenge in CHALLENGES:
            response.headers.append("WWW-Authenticate", challenge)
    return response


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    for kind in _HANDLERS:
        app.add_exception_handler(kind, answer)
