"""Artifacts over REST: the manifest of a stage, its files, and all of them in one archive."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from api.backend import Backend, BackendDependency
from api.http.parameters import ArtifactKey, FilePath
from api.http.problems import PROBLEMS, UnknownProblem
from api.http.send import send_object
from api.http.tar import tar_pieces, tar_size
from shared.records.artifacts import Manifest

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])

# Bytes of any type: OpenAPI 3.1 describes them without a schema, as they are no JSON string.
BINARY: dict[str, Any] = {"content": {"*/*": {}}}
PART_ANSWERS: dict[int | str, dict[str, Any]] = {
    206: {"description": "The requested range.", **BINARY},
    304: {"description": "The client has this content already."},
    **PROBLEMS(416),
}
FILE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole file.", **BINARY},
    307: {"description": "A URL of the object store at which the file can be read for a while."},
    **PART_ANSWERS,
}
ARCHIVE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The files in the order of their names.",
        "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def find_manifest(backend: Backend, key: str) -> Manifest:
    """The manifest of a key; a 404 problem if there is none."""
    try:
        manifest = backend.artifacts.manifest(key)
    except ValueError:
        manifest = None
    if manifest is None:
        raise UnknownProblem(detail=f"there is no artifact {key}")
    return manifest


def send_file(
    request: Request,
    backend: Backend,
    manifest: Manifest,
    file: str,
    *,
    inline: bool = False,
    redirect: bool = False,
    vary: str | None = None,
) -> Response:
    """A file of an artifact (see api.http.send); a 404 problem if it has no such file.

    `inline` lets a browser run what the file contains: only for the pages of the report.
    """
    try:
        name = backend.artifacts.object_name(manifest, file)
    except KeyError:
        raise UnknownProblem(detail=f"{manifest.key} has no file {file}") from None
    return send_object(
        request,
        backend.store,
        name,
        manifest.files[file],
        inline=inline,
        redirect=redirect,
        vary=vary,
    )


@router.get("/{key}")
def manifest(key: ArtifactKey, backend: BackendDependency) -> Manifest:
    """The manifest of a finished stage: parameters, results, and its files with their sha256."""
    return find_manifest(backend, key)


@router.get("/{key}/files/{file:path}", response_class=Response, responses=FILE_ANSWERS)
@router.head("/{key}/files/{file:path}", include_in_schema=False)
def file(
    key: ArtifactKey,
    file: FilePath,
    backend: BackendDependency,
    request: Request,
    redirect: Annotated[
        bool | None,
        Query(
            description="Redirect to the object store if it supports that (by default as the "
            "server is configured); false streams the file."
        ),
    ] = None,
) -> Response:
    """One file of an artifact: whole or one range of bytes; its ETag is its sha256."""
    if redirect is None:
        redirect = backend.settings.redirect_downloads
    return send_file(request, backend, find_manifest(backend, key), file, redirect=redirect)


@router.get("/{key}/archive", response_class=StreamingResponse, responses=ARCHIVE_ANSWERS)
def archive(key: ArtifactKey, backend: BackendDependency) -> StreamingResponse:
    """All files of an artifact as one tar archive, packed while it is sent."""
    manifest = find_manifest(backend, key)
    return StreamingResponse(
        tar_pieces(backend.store, backend.artifacts, manifest),
        media_type="application/x-tar",
        headers={
            "Content-Length": str(tar_size(manifest)),
            "Content-Disposition": f'attachment; filename="{manifest.kind}-{key[:12]}.tar"',
            "X-Content-Type-Options": "nosniff",
        },
    )
