"""The object store, as a handful of verbs that two implementations share.

Names are slash-separated, relative and made of plain segments. An object is whole or absent:
nobody ever reads half of one.

A directory cannot hold both "a" and "a/b", S3 can: a local store refuses the second of them with
ValueError. Reading verbs agree: "a" is not found where only "a/b" is.
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
LONGEST_NAME = 900  # characters; S3 ends at 1024 bytes, a store may put a prefix before


class NotFoundError(KeyError):
    """No object of that name."""


class StoreError(OSError):
    """The store did not do what was asked, and the caller may try again.

    `full` is True when it has no space left. It is an OSError, as a local disk's failure and a
    network's failure are: whoever can wait for either can wait for the store.
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
    """What every object store does; errors are NotFoundError, StoreError and ValueError (names)."""

    def put(self, name: str, data: bytes) -> None:
        """Write an object, replacing what was there."""

    def put_file(self, name: str, path: Path) -> None:
        """Take a file into the store. The file may be moved: the caller must not use it again.

        After a StoreError it is still there, so that it can be put again.
        """

    def put_stream(self, name: str, stream: BinaryIO) -> None:
        """Write an object from a stream, without holding it in memory.

        An error of the stream itself is raised as it is; the object is not written then.
        """

    def create(self, name: str, data: bytes) -> bool:
        """Write an object only if there is none of that name; True for the one who did.

        After a StoreError it may have been written or not: read it to know.
        """

    def get(self, name: str) -> bytes:
        """The whole object."""

    def open(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from start up to (not including) end, in pieces; fewer if it ends before.

        A missing object is noticed here, a failure later while the pieces are read. Pieces that
        were given are right; all of them are the object only when no StoreError followed.
        """

    def download(self, name: str, path: Path) -> None:
        """Write the object to a local file, which appears whole or not at all."""

    def stat(self, name: str) -> ObjectInfo | None:
        """Size and time of an object, or None."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """All objects under a prefix that ends with a slash, in order of name."""

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens when there is none."""

    def local_path(self, name: str) -> Path | None:
        """Where the object (or the objects under that prefix) lies on this disk, if it does."""

    def presign(self, name: str, seconds: int) -> str | None:
        """A URL that reads the object without credentials for a while, if the store has such."""


def checked(name: str) -> str:
    """The name itself; ValueError unless every segment is plain (no "..", no leading dot)."""
    if len(name) > LONGEST_NAME or not all(map(_SEGMENT.fullmatch, name.split("/"))):
        shown = name if len(name) < 100 else f"{name[:100]}..."
        raise ValueError(f"not an object name: {shown!r}")
    return name


def disk_error(error: OSError, what: str) -> StoreError:
    """What a failing disk means for the caller; raise it from the error."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    why = "no space left" if full else error.strerror or type(error).__name__
    return StoreError(f"{what}: {why}", full=full)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; it becomes `path` at the end, or goes after an error."""
    part = path.with_name(f".{uuid.uuid4().hex}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
