"""Artifacts over REST: the manifest of a stage and its files."""

from __future__ import annotations

import mimetypes

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from api.backend import Backend, BackendDependency
from api.problems import UnknownProblem
from shared.artifacts import Manifest

router = APIRouter(prefix="/v1/artifacts", tags=["artifacts"])


def found(backend: Backend, key: str) -> Manifest:
    """The manifest of a key; a 404 problem if there is none."""
    try:
        manifest = backend.artifacts.manifest(key)
    except ValueError:
        manifest = None
    if manifest is None:
        raise UnknownProblem(detail=f"there is no artifact {key}")
    return manifest


def stream_file(backend: Backend, manifest: Manifest, file: str) -> StreamingResponse:
    """A file of an artifact as a streamed response; a 404 problem if it has no such file."""
    try:
        name = backend.artifacts.object_name(manifest, file)
    except KeyError:
        raise UnknownProblem(detail=f"{manifest.key} has no file {file}") from None
    stored = manifest.files[file]
    return StreamingResponse(
        backend.store.open(name),
        media_type=mimetypes.guess_type(file)[0] or "application/octet-stream",
        headers={"ETag": f'"{stored.sha256}"', "Content-Length": str(stored.bytes)},
    )


@router.get("/{key}")
def manifest(key: str, backend: BackendDependency) -> Manifest:
    """The manifest of a finished stage."""
    return found(backend, key)


@router.get("/{key}/files/{file:path}", response_class=StreamingResponse)
def file(key: str, file: str, backend: BackendDependency) -> StreamingResponse:
    """One file of an artifact."""
    return stream_file(backend, found(backend, key), file)
