"""Receiving an upload: streamed to a file, hashed on the way, compared with its headers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi_problem.error import StatusProblem
from werkzeug.http import parse_dict_header, parse_options_header

from api.http.problems import SpecProblem
from shared.data.readers import UploadError
from shared.data.uploads import UploadFormat
from shared.store import StoreError

PIECE = 1 << 20  # bytes written at once
LEFTOVER = 24 * 3600  # seconds without a write: then a killed server has left the file behind
HEX = re.compile(r"[0-9a-fA-F]{64}")
CONTENT_TYPES: dict[str, tuple[UploadFormat, ...]] = {  # and what may be in them; () is anything
    "application/octet-stream": (),
    "application/jsonl": ("jsonl",),
    "application/x-ndjson": ("jsonl",),
    "application/vnd.apache.parquet": ("parquet",),
    "text/plain": ("text", "jsonl"),
    "application/zip": ("zip",),
    "application/gzip": ("tar",),
    "application/x-tar": ("tar",),
}


class ContentTypeProblem(StatusProblem):
    """Uploads do not come in this type."""

    title = "Unsupported media type."
    status = 415


@dataclass(frozen=True)
class Promise:
    """What the headers of an upload promise about its body.

    `formats` are those that its content type allows (empty: any), `filename` is its name at the
    sender ("" if not given), `sha256` its digest (hex) and `size` its bytes (None if not given).
    """

    content_type: str
    formats: tuple[UploadFormat, ...]
    filename: str
    sha256: str | None
    size: int | None


def promise(request: Request, filename: str | None, sha256: str | None) -> Promise:
    """Read the headers; a 415 problem for another content type, 422 for a broken checksum.

    A body without a Content-Type is bytes (RFC 9110, 8.3), as `curl -T` sends them.
    """
    content_type, _ = parse_options_header(request.headers.get("content-type"))
    content_type = content_type.lower() or "application/octet-stream"
    if content_type not in CONTENT_TYPES:
        raise ContentTypeProblem(
            detail=f"an upload is sent as one of {', '.join(CONTENT_TYPES)}, not {content_type}"
        )
    _, disposition = parse_options_header(request.headers.get("content-disposition"))
    length = request.headers.get("content-length")
    return Promise(
        content_type,
        CONTENT_TYPES[content_type],
        filename or disposition.get("filename", ""),
        _checksum(request, sha256),
        int(length) if length is not None and length.isdigit() else None,
    )


def _checksum(request: Request, parameter: str | None) -> str | None:
    """The sha256 of the request, from its parameter or either header; 422 when two differ."""
    fields = {
        "sha256": parameter,
        "X-Checksum-Sha256": request.headers.get("x-checksum-sha256"),
    }
    for field, value in fields.items():
        if value is not None and not HEX.fullmatch(value):
            raise _wrong(field, "must be a sha256 of 64 hexadecimal digits")
    digests = {value.lower() for value in fields.values() if value is not None}
    if "content-digest" in request.headers:
        digests.add(_content_digest(", ".join(request.headers.getlist("content-digest"))))
    if len(digests) > 1:
        raise _wrong("sha256", "is given twice, with different values")
    return next(iter(digests), None)


def _content_digest(header: str) -> str:
    """The sha-256 of a Content-Digest (RFC 9530) as hex."""
    value = parse_dict_header(header).get("sha-256") or ""
    try:
        digest = base64.b64decode(value.strip().strip(":"), validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size or not value.startswith(":"):
        raise _wrong("Content-Digest", "needs a sha-256=:base64:, and no other digest is checked")
    return digest.hex()


def _wrong(field: str, sentence: str) -> SpecProblem:
    return SpecProblem(
        detail=f"{field}: {sentence}", errors=[{"field": field, "message": sentence}]
    )


async def receive(
    request: Request, path: Path, promised: Promise, check_size: Callable[[int], None]
) -> str:
    """Write the body to a new file; returns its sha256 (hex).

    `check_size` is called with the bytes so far and raises when they are too many. Raises
    UploadError when the body is not what was promised, StoreError when it cannot be written.
    """
    check_size(promised.size or 0)
    digest, size = hashlib.sha256(), 0
    try:
        with await run_in_threadpool(path.open, "xb") as file:
            async for piece in _pieces(request):
                size += len(piece)
                check_size(size)
                await run_in_threadpool(_append, piece, file, digest)
    except OSError as error:
        raise StoreError(f"the upload cannot be written: {error.strerror}") from error
    if promised.size is not None and size != promised.size:
        raise UploadError(f"is cut off: {size} of {promised.size} bytes arrived")
    if promised.sha256 not in (None, digest.hexdigest()):
        raise UploadError(
            f"was damaged on its way: its sha256 is {digest.hexdigest()}, not {promised.sha256}"
        )
    return digest.hexdigest()


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    """The body in pieces of about PIECE bytes, so that few of them cross into a thread."""
    waiting: list[bytes] = []
    size = 0
    async for piece in request.stream():
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _append(piece: bytes, file: BinaryIO, digest: hashlib._Hash) -> None:
    digest.update(piece)
    file.write(piece)


def remove_leftovers(directory: Path) -> None:
    """Remove the files of uploads that were cut off by the end of their server."""
    oldest = time.time() - LEFTOVER
    for path in directory.glob("*"):
        try:
            if path.stat().st_mtime < oldest:
                path.unlink()
        except FileNotFoundError:  # another server was quicker
            continue
