"""The object store: a handful of verbs that two implementations share.

Names are slash-separated, relative and made of plain segments. An object is whole or absent:
nobody ever reads half of one.

A directory cannot hold both "a" and "a/b", while S3 can: a local store refuses the second of them
with ValueError. Reading behaves alike in both: "a" is not found where only "a/b" exists.
"""

from __future__ import annotations

import contextlib
import errno
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=-]{0,254}")  # 255: the longest file name
LONGEST_NAME = 900  # characters; S3 allows 1024 bytes, and a store may add a prefix


class NotFoundError(KeyError):
    """No object of that name."""


class StoreError(OSError):
    """The store could not do what was asked, and the caller may try again.

    `full` is True when it has no space left. It is an OSError, as failures of a disk or a network
    are: code that waits for those waits for the store too.
    """

    def __init__(self, message: str, *, full: bool = False) -> None:
        super().__init__(message)
        self.full = full


class UnfitStoreError(Exception):
    """The server cannot keep the store's promises; trying again does not help."""


@dataclass(frozen=True)
class ObjectInfo:
    """Size in bytes and time of the last change (seconds since the epoch)."""

    name: str
    bytes: int
    modified: float


class Store(Protocol):
    """The verbs of an object store; they raise NotFoundError, StoreError, ValueError (bad name)."""

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing what was there."""

    def put_file(self, name: str, path: Path) -> None:
        """Move or copy a file into the store; the caller must not use the file afterwards.

        After a StoreError the file is still there, so that it can be put again.
        """

    def put_stream(self, name: str, stream: BinaryIO) -> None:
        """Write an object from a stream, without holding it in memory.

        An error of the stream itself is raised unchanged, and no object is written.
        """

    def create(self, name: str, data: bytes) -> bool:
        """Write an object only if there is none of that name; True if this call wrote it.

        After a StoreError it may or may not have been written: read it to find out.
        """

    def get(self, name: str) -> bytes:
        """The whole object."""

    def open(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from `start` up to (not including) `end`, in pieces; fewer if it ends before.

        A missing object is noticed here, a later failure while the pieces are read. Every piece is
        correct, but together they are the object only when no StoreError followed.
        """

    def download(self, name: str, path: Path) -> None:
        """Write the object to a local file, which appears whole or not at all."""

    def stat(self, name: str) -> ObjectInfo | None:
        """Size and time of an object, or None."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects under a prefix that ends with a slash, sorted by name."""

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens when there is none."""

    def local_path(self, name: str) -> Path | None:
        """The path of the object, or of the objects under that prefix, if they lie on this disk."""

    def presign(self, name: str, seconds: int) -> str | None:
        """A URL that reads the object without credentials for `seconds`, if the store has URLs."""


def checked(name: str) -> str:
    """The name, unchanged; ValueError unless every segment is plain (no "..", no leading dot)."""
    if len(name) > LONGEST_NAME or not all(map(_SEGMENT.fullmatch, name.split("/"))):
        shown = name if len(name) < 100 else f"{name[:100]}..."
        raise ValueError(f"not an object name: {shown!r}")
    return name


def disk_error(error: OSError, what: str) -> StoreError:
    """A disk's error as a StoreError; raise it from `error`."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    why = "no space left" if full else error.strerror or type(error).__name__
    return StoreError(f"{what}: {why}", full=full)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` to write to; renamed to `path` at the end, or removed."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
