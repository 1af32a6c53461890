"""The object store, as a handful of verbs that two implementations share.

Names are slash-separated, relative and made of plain segments. An object is whole or absent:
nobody ever reads half of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+@=-]*")


class NotFoundError(KeyError):
    """No object of that name."""


class StoreError(Exception):
    """The store did not do what was asked, and the caller may try again."""


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
        """Take a file into the store. The file may be moved: the caller must not use it again."""

    def put_stream(self, name: str, stream: BinaryIO) -> None:
        """Write an object from a stream, without holding it in memory."""

    def create(self, name: str, data: bytes) -> bool:
        """Write an object only if there is none of that name; True for the one who did."""

    def get(self, name: str) -> bytes:
        """The whole object."""

    def open(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from start up to (not including) end, in pieces."""

    def download(self, name: str, path: Path) -> None:
        """Write the object to a local file."""

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
    if not name or not all(_SEGMENT.fullmatch(segment) for segment in name.split("/")):
        raise ValueError(f"not an object name: {name!r}")
    return name
