"""Logs of attempts: the published end of one that runs, the stored log of one that ended.

A place is an offset in the whole log, in bytes. The next look at a log continues at the place that
the client has been sent it up to, wherever the log is read from by then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from api.backend import Backend
from api.http.problems import UnknownProblem
from shared.store import NotFoundError, StoreError

LOOK = 0.5  # seconds between two looks at a log that is followed
ANCHOR = 512  # bytes already sent by which the place in a shortened log is found again


@dataclass(frozen=True)
class Piece:
    """Bytes of a log from the place `start`; `ended` when nothing will follow them."""

    start: int
    data: bytes
    ended: bool


@dataclass
class Sent:
    """How far a client has been sent a log: the place, and the last bytes before it."""

    place: int = 0
    anchor: bytes = b""

    def first(self, piece: Piece, lines: int | None) -> bytes:
        """The bytes to send first: the last `lines`, or everything, after a note on what is missing
        before it.
        """
        self._remember(piece)
        if lines is not None:
            return last_lines(piece.data, lines)
        return _note(piece.start) + piece.data if piece.start else piece.data

    def more(self, piece: Piece) -> bytes:
        """The bytes of a later piece that are new to the client."""
        skipped, data = self._new(piece)
        if data:
            self._remember(piece)
        return data if skipped == 0 else _note(skipped) + data

    def _remember(self, piece: Piece) -> None:
        self.place = piece.start + len(piece.data)
        self.anchor = piece.data[-ANCHOR:]

    def _new(self, piece: Piece) -> tuple[int | None, bytes]:
        """(number of bytes that were missed, None if unknown; new bytes).

        The stored log of an attempt that wrote very much lacks its beginning, so its places are
        off: then the place to continue at is found by the last bytes that were sent.
        """
        index = self.place - piece.start
        if index < 0:
            return -index, piece.data
        before = self.anchor[-index:] if index else b""
        if index <= len(piece.data) and piece.data[:index].endswith(before):
            return 0, piece.data[index:]
        if index > len(piece.data) and not piece.ended:  # an older view of the log
            return 0, b""
        index = piece.data.rfind(self.anchor)
        if index < 0:
            return None, piece.data
        return 0, piece.data[index + len(self.anchor) :]


def last_lines(data: bytes, lines: int) -> bytes:
    """The last lines of a text; an unfinished line counts as one."""
    pieces = data.splitlines(keepends=True)
    return b"".join(pieces[len(pieces) - lines :]) if lines < len(pieces) else data


def _note(skipped: int | None) -> bytes:
    return f"[{'some' if skipped is None else skipped} bytes are missing here]\n".encode()


@dataclass(frozen=True)
class LogReader:
    """Reads the log of one attempt at one stage."""

    backend: Backend
    key: str
    attempt: str

    @staticmethod
    def of(backend: Backend, key: str, attempt: str | None) -> LogReader:
        """A reader for an attempt; by default the one that runs, or the last that left a log.

        A 404 problem when there is none.
        """
        running = backend.leases.live([key]).get(key)
        if attempt is None and running is not None:
            return LogReader(backend, key, running)
        attempts = [record.attempt for record in backend.book.attempts(key)]
        candidates = [name for name in reversed(attempts) if attempt in (None, name)]
        for reader in (LogReader(backend, key, name) for name in candidates):
            if reader.attempt == running or reader.read() is not None:
                return reader
        raise UnknownProblem(detail=_why_none(attempt, attempts))

    def read(self) -> Piece | None:
        """The log as far as it can be read now; None when there is nothing."""
        if self.alive():
            return self._published()
        # The published end outlives its attempt for a while; the stored log is whole.
        return self._stored() or self._published()

    def alive(self) -> bool:
        """True while a worker holds the lease of the attempt."""
        return self.backend.leases.live([self.key]).get(self.key) == self.attempt

    def patience(self) -> float:
        """Seconds after which an attempt without a lease is over: Redis may have been flushed."""
        return self.backend.settings.lease

    def _stored(self) -> Piece | None:
        try:
            return Piece(0, self.backend.book.log(self.key, self.attempt), ended=True)
        except NotFoundError:
            return None

    def _published(self) -> Piece | None:
        published = self.backend.leases.live_log(self.key)
        if published is None or published.attempt != self.attempt:
            return None
        # A half-written character ends as a replacement: it is sent once it is whole.
        data = published.text.rstrip("\ufffd").encode(errors="surrogateescape")
        return Piece(published.start, data, ended=False)


def _why_none(attempt: str | None, attempts: list[str]) -> str:
    if attempt is not None and attempt not in attempts:
        return f"attempt: there is no attempt {attempt}"
    return "no attempt has left a log" if attempts else "no attempt has begun yet"


async def stream_log(reader: LogReader, lines: int | None, follow: bool) -> AsyncIterator[bytes]:
    """The log, or its last lines; with `follow` also what is added until the attempt ends."""
    sent = Sent()
    piece = await run_in_threadpool(reader.read)
    if piece is not None:
        yield sent.first(piece, lines)
    seen_alive = time.monotonic()
    while follow and _open(piece):
        await asyncio.sleep(LOOK)
        piece, alive = await run_in_threadpool(_look, reader)
        if piece is not None and (new := sent.more(piece)):
            yield new
        if alive:
            seen_alive = time.monotonic()
        elif _open(piece) and time.monotonic() - seen_alive > reader.patience():
            yield b"[the attempt ended and left no log]\n"
            return


def _open(piece: Piece | None) -> bool:
    """True when something may still be added to the log."""
    return piece is None or not piece.ended


def _look(reader: LogReader) -> tuple[Piece | None, bool]:
    """(the log as it is now, whether the attempt may be alive)."""
    try:
        alive = reader.alive()
        return reader.read(), alive
    except (RedisError, StoreError, OSError):
        return None, True  # store and Redis come back; the client keeps its place
