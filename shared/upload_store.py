"""Uploaded files in the store: the bytes by their digest, and what a user's name points to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from shared.resolved import UploadInfo
from shared.store import NotFoundError, Store


class UploadStore:
    """All uploads of one installation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, info: UploadInfo, path: Path) -> None:
        """Take an inspected file into the store (it is moved), then let the name point to it."""
        if self._store.stat(f"blobs/{info.digest}") is None:
            self._store.put_file(f"blobs/{info.digest}", path)
        self._store.put(f"uploads/{info.name}.json", json.dumps(asdict(info)).encode())

    def get(self, name: str) -> UploadInfo:
        """The upload of that name; NotFoundError if there is none."""
        return UploadInfo(**json.loads(self._store.get(f"uploads/{name}.json")))

    def find(self, name: str) -> UploadInfo | None:
        """The upload of that name, or None."""
        try:
            return self.get(name)
        except (NotFoundError, ValueError):
            return None

    def all(self) -> list[UploadInfo]:
        """Every upload, by name."""
        names = [info.name for info in self._store.list("uploads/")]
        return [UploadInfo(**json.loads(self._store.get(name))) for name in names]

    def local_copy(self, digest: str, directory: Path) -> Path:
        """The uploaded bytes as a local file: the store's own, or a copy in `directory`."""
        own = self._store.local_path(f"blobs/{digest}")
        if own is None:
            own = directory / digest
            self._store.download(f"blobs/{digest}", own)
        return own
