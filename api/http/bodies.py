"""Reading request bodies with a limit."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import Request
from fastapi_problem.error import StatusProblem


class TooLargeProblem(StatusProblem):
    """The body is larger than allowed."""

    title = "Too large."
    status = 413


async def limited(request: Request, limit: int, what: str) -> AsyncIterator[bytes]:
    """The body in pieces; TooLargeProblem as soon as it exceeds `limit` bytes."""
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise TooLargeProblem(detail=f"{what}: larger than {limit} bytes")
        yield piece


async def read_start(request: Request, limit: int) -> bytes:
    """The body, or its first limit + 1 bytes, which a later check of the size still refuses."""
    pieces = bytearray()
    async for piece in request.stream():
        pieces += piece
        if len(pieces) > limit:
            break
    return bytes(pieces[: limit + 1])
