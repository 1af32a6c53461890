"""Pages of a list that does not move, or that is ordered by something that stays: by cursor.

The cursor is opaque to clients. Models and parameters are those of fastapi-pagination.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import unquote

from fastapi import Depends, HTTPException
from fastapi_pagination.cursor import CursorPage, CursorParams

from api.http.parameters import Cursor, PageSize
from api.http.problems import SpecProblem

Page = TypeVar("Page", bound=CursorPage[Any])


def _page_params(cursor: Cursor = None, size: PageSize = 50) -> CursorParams:
    """Parameters of a model would reach the document without their descriptions."""
    return CursorParams(cursor=cursor, size=size)


PageParams = Annotated[CursorParams, Depends(_page_params)]


def cursor_of(params: CursorParams) -> str:
    """What the cursor of a request says, "" for the first page; a 422 problem if it is broken."""
    if not params.cursor:
        return ""
    try:
        found = params.decode_cursor(params.cursor)
    except (HTTPException, ValueError):
        raise broken_cursor() from None
    # Base64 is read generously: what it skipped shows when the cursor is written again.
    if unquote(params.encode_cursor(found) or "") != unquote(params.cursor):
        raise broken_cursor()
    assert isinstance(found, str), "cursors are text"
    return found


def broken_cursor() -> SpecProblem:
    """The answer to a cursor that this listing never gave."""
    sentence = "is not a cursor of this listing; leave it out to start at the first page"
    return SpecProblem(
        detail=f"cursor: {sentence}", errors=[{"field": "cursor", "message": sentence}]
    )


def offset_of(params: CursorParams) -> int:
    """The place that a cursor of `place_page` names."""
    text = cursor_of(params) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise broken_cursor()
    return int(text)


def place_page(
    model: type[Page],
    items: Sequence[Any],
    params: CursorParams,
    place: int,
    total: int,
) -> Page:
    """A page whose first entry is number `place` of `total` that never change their order."""
    end = place + len(items)
    page = model.create(
        items,
        params,
        total=total,
        current=str(place),
        next_=str(end) if end < total else None,
        previous=str(max(0, place - params.size)) if place else None,
    )
    return cast(Page, page)
