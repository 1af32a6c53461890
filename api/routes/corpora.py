"""Uploads: corpora, tokenizers and model archives that specs name by `upload`."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool

from api.backend import Backend, BackendDependency
from api.bodies import limited
from shared.resolved import UploadInfo
from shared.uploads import inspect_upload

router = APIRouter(prefix="/v1/corpora", tags=["corpora"])

UploadName = Annotated[
    str, PathParameter(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="Name that specs use.")
]
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.put("/{name}", status_code=201, openapi_extra=BODY)
async def put(
    name: UploadName,
    request: Request,
    backend: BackendDependency,
    text_column: Annotated[str, Query(description="Column or key that holds the text.")] = "text",
) -> UploadInfo:
    """Upload a corpus: JSONL, Parquet, plain text, or a zip/tar of source files.

    The body is streamed to disk and checked before the name points to it; a wrong file changes
    nothing. Uploading another file under the same name leaves running experiments as they are.
    """
    incoming = backend.settings.data / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    path = incoming / uuid.uuid4().hex
    try:
        digest = await _receive(request, path, backend.settings.upload_limit)
        return await run_in_threadpool(_keep, backend, path, name, text_column, digest)
    finally:
        path.unlink(missing_ok=True)


async def _receive(request: Request, path: Path, limit: int) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as handle:
        async for piece in limited(request, limit, "the upload"):
            digest.update(piece)
            handle.write(piece)
    return digest.hexdigest()


def _keep(backend: Backend, path: Path, name: str, text_column: str, digest: str) -> UploadInfo:
    info = inspect_upload(path, name, text_column)
    assert info.digest == digest, "what was inspected is what was received"
    backend.uploads.keep(info, path)
    return info


@router.get("")
def listing(backend: BackendDependency) -> list[UploadInfo]:
    """All uploads, by name."""
    return backend.uploads.all()


@router.get("/{name}")
def one(name: UploadName, backend: BackendDependency) -> UploadInfo:
    """Size, format and digest of one upload."""
    return backend.uploads.get(name)
