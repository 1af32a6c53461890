"""Pages, by cursor, of a list that does not change or whose order is fixed.

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
    """The parameters one by one: as a model, they would lose their descriptions in OpenAPI."""
    return CursorParams(cursor=cursor, size=size)


PageParams = Annotated[CursorParams, Depends(_page_params)]


def cursor_of(params: CursorParams) -> str:
    """The text in the cursor of a request, "" for the first page; a 422 problem if it is broken."""
    if not params.cursor:
        return ""
    try:
        text = params.decode_cursor(params.cursor)
    except (HTTPException, ValueError):
        raise broken_cursor() from None
    # Base64 decoding skips characters outside its alphabet; encoding again shows whether it did.
    if unquote(params.encode_cursor(text) or "") != unquote(params.cursor):
        raise broken_cursor()
    assert isinstance(text, str), "cursors are text"
    return text


def broken_cursor() -> SpecProblem:
    """The problem for a cursor that this listing never issued."""
    sentence = "is not a cursor of this listing; leave it out to start at the first page"
    return SpecProblem(
        detail=f"cursor: {sentence}", errors=[{"field": "cursor", "message": sentence}]
    )


def offset_of(params: CursorParams) -> int:
    """The place in a cursor made by `place_page`; a 422 problem if it is broken."""
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
    """A page whose first entry is number `place`, from 0, of `total` entries in a fixed order."""
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
