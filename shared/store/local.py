"""The object store in a directory: atomic by rename, conditional by hard link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from shared.store.base import (
    NotFoundError,
    ObjectInfo,
    StoreError,
    beside,
    checked,
    disk_error,
)

PIECE = 1 << 20  # bytes read at once
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
ABANDONED = 86_400.0  # seconds without a write after which a part counts as abandoned


class LocalStore:
    """Objects are files under `root`; unfinished ones are written in `root/.incoming`.

    Folders that become empty stay: a writer may be about to use them.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._incoming = self._root / ".incoming"
        with _disk(f"the store {self._root}"):
            self._incoming.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove the parts of killed writers, once they are too old to be in use."""
        for part in self._incoming.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - part.stat().st_mtime > ABANDONED:
                    part.unlink()

    def _path(self, name: str) -> Path:
        return self._root / checked(name)

    def _target(self, name: str) -> Path:
        """The path to write an object to; makes its folder. ValueError if objects block it."""
        path = self._path(name)
        with _disk(name):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise ValueError(f"{name!r} cannot lie below another object") from None
            if path.is_dir():
                raise ValueError(f"{name!r} has other objects below it")
        return path

    @contextlib.contextmanager
    def _part(self) -> Iterator[Path]:
        """A path for an unfinished object; whatever happens, no file is left there."""
        part = self._incoming / uuid.uuid4().hex
        try:
            yield part
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def put(self, name: str, data: bytes) -> None:
        """See Store."""
        target = self._target(name)
        with _disk(name), self._part() as part:
            _write(part, data)
            _move(part, target)

    def put_file(self, name: str, path: Path) -> None:
        """See Store. The file is moved when it lies on the same file system, copied otherwise."""
        target = self._target(name)
        with path.open("rb") as source, _disk(name):
            os.fsync(source.fileno())
            try:
                _move(path, target)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                self._take(name, source)

    def put_stream(self, name: str, stream: BinaryIO) -> None:
        """See Store."""
        self._target(name)
        self._take(name, stream)

    def _take(self, name: str, stream: BinaryIO) -> None:
        with self._part() as part:
            with contextlib.ExitStack() as files:
                with _disk(name):
                    handle = files.enter_context(part.open("wb"))
                while piece := stream.read(PIECE):
                    with _disk(name):
                        handle.write(piece)
                with _disk(name):
                    _sync(handle)
            with _disk(name):
                _move(part, self._path(name))

    def create(self, name: str, data: bytes) -> bool:
        """See Store. A hard link fails when the name is taken: the first one wins."""
        target = self._target(name)
        with _disk(name), self._part() as part:
            _write(part, data)
            try:
                os.link(part, target)
            except FileExistsError:
                return False
            _sync_directory(target.parent)
        return True

    def get(self, name: str) -> bytes:
        """See Store."""
        with _reading(name):
            return self._path(name).read_bytes()

    def open(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """See Store."""
        if start < 0:
            raise ValueError(f"a range cannot start at {start}")
        with _reading(name):
            handle = self._path(name).open("rb")
        return _pieces(name, handle, start, end)

    def download(self, name: str, path: Path) -> None:
        """See Store."""
        pieces = self.open(name)
        with _disk(name), beside(path) as part, part.open("wb") as target:
            target.writelines(pieces)

    def stat(self, name: str) -> ObjectInfo | None:
        """See Store."""
        try:
            with _reading(name):
                status = self._path(name).stat()
        except NotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        return ObjectInfo(name, status.st_size, status.st_mtime)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See Store. Objects that vanish during the listing are left out."""
        folder = self._root / checked(prefix.rstrip("/"))
        names = []
        for directory, _, files in os.walk(folder, onerror=_walk_error):
            place = Path(directory).relative_to(self._root).as_posix()
            names += [f"{place}/{file}" for file in files]
        for name in sorted(names):
            if (info := self.stat(name)) is not None:
                yield info

    def delete(self, name: str) -> None:
        """See Store."""
        with contextlib.suppress(NotFoundError), _reading(name):
            self._path(name).unlink()

    def local_path(self, name: str) -> Path | None:
        """See Store."""
        path = self._path(name)
        return path if path.exists() else None

    def presign(self, name: str, seconds: int) -> str | None:  # noqa: ARG002
        """See Store. A directory has no URLs."""
        checked(name)
        return None


@contextlib.contextmanager
def _disk(name: str) -> Iterator[None]:
    """Turn the disk's errors into StoreErrors."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        raise disk_error(error, name) from error


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """The same, with NotFoundError for a missing file."""
    with _disk(name):
        try:
            yield
        except _MISSING:
            raise NotFoundError(name) from None


def _walk_error(error: OSError) -> None:
    """Ignore a folder that is gone, but not one that cannot be read: it must not seem empty."""
    if not isinstance(error, _MISSING):
        raise disk_error(error, str(error.filename)) from error


def _pieces(name: str, handle: BinaryIO, start: int, end: int | None) -> Iterator[bytes]:
    with handle, _disk(name):
        handle.seek(start)
        left = os.fstat(handle.fileno()).st_size - start if end is None else end - start
        while left > 0 and (piece := handle.read(min(PIECE, left))):
            left -= len(piece)
            yield piece


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        _sync(handle)


def _sync(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())


def _move(part: Path, target: Path) -> None:
    part.replace(target)
    _sync_directory(target.parent)


def _sync_directory(path: Path) -> None:
    """Make a rename survive a power cut; the file's own bytes were synced before."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
