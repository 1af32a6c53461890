"""Content negotiation (RFC 9110, 12.5.1), and tables as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi_problem.error import StatusProblem
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

JSON = "application/json"
CSV = "text/csv"
PIECE = 1 << 16  # characters of CSV sent at once


class NotAcceptableProblem(StatusProblem):
    """There is no representation that the client accepts."""

    title = "Not acceptable."
    status = 406


def negotiated(request: Request, offers: Sequence[str]) -> str:
    """The offer that the client prefers, the first of equals; a 406 problem if it accepts none."""
    header = ",".join(request.headers.getlist("accept")) or "*/*"
    best = parse_accept_header(header, MIMEAccept).best_match(offers)
    if best is None:
        raise NotAcceptableProblem(detail=f"this is available as {' or '.join(offers)}")
    return best


def csv_answer(
    name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]
) -> StreamingResponse:
    """A table as CSV, sent while it is written; None becomes an empty field."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return StreamingResponse(
        _pieces(columns, rows),
        media_type=f"{CSV}; charset=utf-8",
        headers={
            "Content-Disposition": f'attachment; filename="{plain}.csv"',
            "Vary": "Accept",
            "X-Content-Type-Options": "nosniff",
        },
    )


def _pieces(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(row)
        if buffer.tell() >= PIECE:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()
