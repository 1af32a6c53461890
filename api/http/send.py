"""Sending one stored file over HTTP: ranges, ETags, a safe name, or a redirect to the store.

The content of a file never changes (its ETag is its sha256), so every condition can be answered
without reading it.
"""

from __future__ import annotations

import mimetypes
from pathlib import PurePosixPath
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from fastapi_problem.error import StatusProblem
from werkzeug.http import parse_etags, parse_range_header

from shared.records.artifacts import StoredFile
from shared.store import Store

REDIRECT_SECONDS = 900  # a presigned URL works this long: enough to start a download
PLAIN_TYPES = ("application/json", "text/csv", "text/plain", "image/png")  # run no script
TYPES = {
    ".jsonl": "application/jsonl",
    ".npy": "application/octet-stream",
    ".npz": "application/octet-stream",
    ".parquet": "application/vnd.apache.parquet",
    ".safetensors": "application/octet-stream",
}
# For a page that is opened as a file: it runs nothing and fetches nothing.
SANDBOX = "sandbox; default-src 'none'"


class RangeProblem(StatusProblem):
    """No byte of the file lies in the range."""

    title = "Range not satisfiable."
    status = 416


def media_type(file: str) -> str:
    """The content type of a file, by its name."""
    suffix = PurePosixPath(file).suffix
    return TYPES.get(suffix) or mimetypes.guess_type(file)[0] or "application/octet-stream"


def wanted_range(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """The requested range [start, end) of bytes, or None for the whole file.

    What RFC 9110 (14.2) lets a server ignore is ignored: several ranges, other units, broken
    syntax, an If-Range for other content. A 416 problem when no byte lies in the range.
    """
    header, condition = request.headers.get("range"), request.headers.get("if-range")
    if header is None or (condition is not None and condition.strip() != etag):
        return None
    parsed = parse_range_header(header)
    if parsed is None or parsed.units != "bytes" or len(parsed.ranges) != 1:
        return None
    start, end = parsed.ranges[0]
    if start < 0:  # the last bytes
        start, end = max(0, size + start), size
    if start >= size:
        raise RangeProblem(
            detail=f"the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"}
        )
    return start, size if end is None else min(end, size)


def unchanged(request: Request, etag: str) -> bool:
    """True when the client has this content already (If-None-Match)."""
    header = request.headers.get("if-none-match")
    return header is not None and parse_etags(header).contains_weak(etag.strip('"'))


def send_object(
    request: Request,
    store: Store,
    name: str,
    stored: StoredFile,
    *,
    inline: bool = False,
    redirect: bool = False,
    vary: str | None = None,
) -> Response:
    """A response with the object, its range, its redirect, or 304.

    `inline` files are shown by a browser; others that could run a script are only saved.
    """
    file = name.rsplit("/", 1)[-1]
    etag = f'"{stored.sha256}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, no-cache"}
    if vary:
        headers["Vary"] = vary
    if unchanged(request, etag):
        return Response(status_code=304, headers=headers)
    url = store.presign(name, REDIRECT_SECONDS) if redirect else None
    if url is not None:
        return RedirectResponse(url, 307, headers={"Cache-Control": "no-store"})
    part = wanted_range(request, etag, stored.bytes)
    start, end = part or (0, stored.bytes)
    headers |= _naming(file, inline) | {"Content-Length": str(end - start)}
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.bytes}"
    body = iter(()) if request.method == "HEAD" or start == end else store.open(name, start, end)
    return StreamingResponse(
        body, 206 if part else 200, media_type=media_type(file), headers=headers
    )


def _naming(file: str, inline: bool) -> dict[str, str]:
    shown = inline or media_type(file) in PLAIN_TYPES
    quoted = quote(file, safe="")
    value = f'filename="{file}"' if quoted == file else f"filename*=utf-8''{quoted}"
    headers = {
        "Content-Disposition": f"{'inline' if shown else 'attachment'}; {value}",
        "X-Content-Type-Options": "nosniff",
    }
    return headers if shown else headers | {"Content-Security-Policy": SANDBOX}
