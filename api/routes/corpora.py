"""Uploads: corpora, tokenizers and model archives that specs name by `upload`."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi_pagination.cursor import CursorPage
from fastapi_problem.error import ConflictProblem
from pydantic import BaseModel, Field

from api.backend import Backend, BackendDependency
from api.http.paging import PageParams, cursor_of
from api.http.problems import PROBLEMS, UnknownProblem
from api.http.receive import CONTENT_TYPES, Promise, promise, receive, remove_leftovers
from api.security.auth import Caller, NotAllowed, Submitter
from api.security.limits import check_upload
from shared.data.inspect import inspect_upload
from shared.data.readers import UploadError
from shared.data.uploads import UploadFormat, UploadInfo
from shared.store import NotFoundError


@asynccontextmanager
async def _clean_start(app: FastAPI) -> AsyncIterator[None]:
    """Remove, when the server starts, the unfinished uploads of one that was killed."""
    await run_in_threadpool(remove_leftovers, _incoming(app.state.backend))
    yield


router = APIRouter(prefix="/v1/corpora", tags=["corpora"], lifespan=_clean_start)

UploadName = Annotated[
    str,
    PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="Name that specs use."),
]
SHA256 = r"^[0-9a-fA-F]{64}$"
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}} for kind in CONTENT_TYPES
        },
    },
    "parameters": [
        {
            "name": name,
            "in": "header",
            "required": False,
            "schema": {"type": "string", "pattern": pattern},
            "description": text,
        }
        for name, pattern, text in (
            (
                "Content-Digest",
                r"^sha-256=:[A-Za-z0-9+/]{43}=:$",
                "sha-256=:base64: of the body (RFC 9530); checked.",
            ),
            ("X-Checksum-Sha256", SHA256, "The same in hexadecimal digits."),
            ("Content-Disposition", r"^attachment; filename=", "May give the file's name."),
        )
    ],
}


class UploadView(BaseModel):
    """An upload: its name, the sha256 of its content, and what that content is."""

    name: str
    digest: str = Field(description="sha256 of the content, hex.")
    format: UploadFormat
    bytes: int
    rows: int | None = Field(description="Documents; null where the format has none.")


class UploadPage(CursorPage[UploadView]):
    """A page of uploads, by name."""


class UploadUse(UploadView):
    """An upload, with the experiments that were submitted with its present content."""

    used_by: list[str]


class UploadAnswer(UploadView):
    """An upload that was stored; `replaced` is the digest of other content that had its name."""

    replaced: str | None


class InUseProblem(ConflictProblem):
    """An experiment needs the upload."""

    title = "In use."


@router.put(
    "/{name}",
    status_code=201,
    openapi_extra=BODY,
    responses={
        200: {
            "model": UploadAnswer,
            "description": "The name existed; it now stands for this upload.",
        },
        **PROBLEMS(403, 413, 415, 422),
    },
)
async def put(
    name: UploadName,
    request: Request,
    response: Response,
    backend: BackendDependency,
    caller: Submitter,
    text_column: Annotated[
        str, Query(description="Column or key that holds the text.", max_length=200)
    ] = "text",
    filename: Annotated[
        str | None,
        Query(description="The file's name; its suffix suggests a format.", max_length=200),
    ] = None,
    sha256: Annotated[
        str | None,
        Query(
            description="sha256 of the body, hex; checked.", json_schema_extra={"pattern": SHA256}
        ),
    ] = None,
) -> UploadAnswer:
    """Upload a corpus (JSONL, Parquet, text, zip or tar), a tokenizer.json or a model archive.

    The body is streamed to disk and read to its end before the name stands for it; a bad file
    changes nothing. Another file under the same name replaces it for later specs: experiments
    that were submitted before have pinned the content and continue with it.
    """
    promised = promise(request, filename, sha256)
    await run_in_threadpool(_check_owner, backend, caller, name)
    incoming = _incoming(backend)
    path = incoming / uuid.uuid4().hex
    try:
        await run_in_threadpool(incoming.mkdir, parents=True, exist_ok=True)
        try:
            digest = await receive(request, path, promised, partial(check_upload, caller))
        except UploadError as error:
            raise UploadError(f"{name}: {error}") from error
        info = await run_in_threadpool(_inspect, path, name, text_column, promised, digest)
        before = await run_in_threadpool(_store, backend, path, info, caller.name)
    finally:
        path.unlink(missing_ok=True)
    if before is not None:
        response.status_code = 200
    replaced = before.digest if before and before.digest != info.digest else None
    return UploadAnswer(**_fields(info), replaced=replaced)


def _incoming(backend: Backend) -> Path:
    """The directory of bodies while they are received and inspected."""
    return backend.settings.data / "incoming"


def _inspect(path: Path, name: str, text_column: str, promised: Promise, digest: str) -> UploadInfo:
    return inspect_upload(
        path,
        name,
        text_column,
        filename=promised.filename or name,
        digest=digest,
        formats=promised.formats,
    )


def _check_owner(backend: Backend, caller: Caller, name: str) -> None:
    """A 403 problem when the name belongs to another caller."""
    try:
        owner = backend.uploads.owner(name)
    except NotFoundError:
        return
    if not caller.owns(owner):
        raise NotAllowed(detail=f"{name} was uploaded with another API key")


def _store(backend: Backend, path: Path, info: UploadInfo, owner: str) -> UploadInfo | None:
    """Store an upload; returns what its name stood for before."""
    before = backend.uploads.find(info.name)
    backend.uploads.keep(info, path, owner)
    return before


@router.get("", responses=PROBLEMS(422))
def uploads(backend: BackendDependency, page: PageParams) -> UploadPage:
    """All uploads, by name, in pages."""
    names = backend.uploads.names()
    start = cursor_of(page)
    rest = [name for name in names if name >= start]
    shown = rest[: page.size]
    items = [UploadView(**_fields(info)) for name in shown if (info := backend.uploads.find(name))]
    before = [name for name in names if name < start][-page.size :]
    answer = UploadPage.create(
        items,
        page,
        total=len(names),
        current=shown[0] if shown else None,
        next_=rest[page.size] if len(rest) > page.size else None,
        previous=before[0] if before else None,
    )
    return cast(UploadPage, answer)


@router.get("/{name}")
def upload(name: UploadName, backend: BackendDependency) -> UploadUse:
    """One upload, and the experiments that use its content."""
    info = _find(backend, name)
    return UploadUse(**_fields(info), used_by=_users(backend, info))


@router.delete("/{name}", status_code=204, responses=PROBLEMS(403, 409))
def delete(name: UploadName, backend: BackendDependency, caller: Submitter) -> None:
    """Delete an upload; refused while an experiment exists that was submitted with its content.

    Delete those experiments first. The bytes stay until garbage is collected.
    """
    users = _users(backend, _find(backend, name))
    _check_owner(backend, caller, name)
    if users:
        raise InUseProblem(
            detail=f"{name} is used by {', '.join(users[:10])}"
            + (f" and {len(users) - 10} more" if len(users) > 10 else ""),
            experiments=users,
        )
    backend.uploads.delete(name)


def _find(backend: Backend, name: str) -> UploadInfo:
    """The upload of that name; a 404 problem if there is none."""
    info = backend.uploads.find(name)
    if info is None:
        raise UnknownProblem(detail=f"there is no upload {name!r}")
    return info


def _fields(info: UploadInfo) -> dict[str, Any]:
    return {key: getattr(info, key) for key in UploadView.model_fields}


def _users(backend: Backend, info: UploadInfo) -> list[str]:
    """Ids of the experiments with a stage that reads this content."""
    return [entry.id for entry, card in backend.experiments.cards() if info.digest in card.uploads]
