"""The object store in a directory: atomic by rename, conditional by hard link."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shared.store.base import NotFoundError, ObjectInfo, checked

PIECE = 1 << 20  # bytes read at once


class LocalStore:
    """Objects are files under `root`; what is being written lies in `root/.incoming`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._incoming = self._root / ".incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def _path(self, name: str) -> Path:
        return self._root / checked(name)

    def _publish(self, part: Path, name: str) -> None:
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)
        _sync_directory(target.parent)

    def _part(self) -> Path:
        return self._incoming / uuid.uuid4().hex

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        checked(name)
        part = self._part()
        _write(part, data)
        self._publish(part, name)

    def put_file(self, name: str, path: Path) -> None:
        """See Store. The file is moved when it lies on the same file system, copied otherwise."""
        checked(name)
        part = self._part()
        try:
            path.replace(part)
        except OSError:
            shutil.copyfile(path, part)
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        self._publish(part, name)

    def put_stream(self, name: str, stream: BinaryIO) -> None:
        """See Store."""
        checked(name)
        part = self._part()
        try:
            with part.open("wb") as handle:
                shutil.copyfileobj(stream, handle, PIECE)
                handle.flush()
                os.fsync(handle.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self._publish(part, name)

    def create(self, name: str, data: bytes) -> bool:
        """See Store. A hard link fails when the name is taken: the first one wins."""
        target = self._path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = self._part()
        _write(part, data)
        try:
            os.link(part, target)
        except FileExistsError:
            return False
        finally:
            part.unlink()
        _sync_directory(target.parent)
        return True

    def get(self, name: str) -> bytes:
        """See Store."""
        try:
            return self._path(name).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise NotFoundError(name) from None

    def open(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See Store."""
        if self.stat(name) is None:
            raise NotFoundError(name)
        return self._pieces(self._path(name), start, end)

    @staticmethod
    def _pieces(path: Path, start: int, end: int | None) -> Iterator[bytes]:
        with path.open("rb") as handle:
            handle.seek(start)
            left = path.stat().st_size - start if end is None else end - start
            while left > 0 and (piece := handle.read(min(PIECE, left))):
                left -= len(piece)
                yield piece

    def download(self, name: str, path: Path) -> None:
        """See Store."""
        try:
            shutil.copyfile(self._path(name), path)
        except (FileNotFoundError, IsADirectoryError):
            raise NotFoundError(name) from None

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store."""
        path = self._path(name)
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not path.is_file():
            return None
        return ObjectInfo(name, status.st_size, status.st_mtime)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Store."""
        folder = self._root / checked(prefix.rstrip("/"))
        names = []
        for directory, _, files in os.walk(folder):
            place = Path(directory).relative_to(self._root).as_posix()
            names += [f"{place}/{file}" for file in files]
        for name in sorted(names):
            if (info := self.stat(name)) is not None:
                yield info

    def delete(self, name: str) -> None:
        """See Store. Folders that become empty are left: a writer may be about to use them."""
        with contextlib.suppress(FileNotFoundError):
            self._path(name).unlink()

    def local_path(self, name: str) -> Path | None:
        """See Store."""
        path = self._path(name)
        return path if path.exists() else None

    def presign(self, name: str, seconds: int) -> str | None:  # noqa: ARG002
        """See Store. A directory has no URLs."""
        checked(name)
        return None


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync_directory(path: Path) -> None:
    """Make a rename survive a power cut; the file's own bytes were synced before."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
