"""Uploaded files in the store: bytes under their digest, and users' names that point to them."""

from __future__ import annotations

import json
import tarfile
import tempfile
import zipfile
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from shared.data.uploads import UploadInfo
from shared.records.artifacts import sha256_of
from shared.store import NotFoundError, Store

SMALL = 64 << 20  # bytes; the largest tokenizer.json in use has 33 MB


class UploadStore:
    """All uploads of one installation."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, info: UploadInfo, path: Path, owner: str = "") -> None:
        """Move an inspected file into the store, then let its name point to it.

        Bytes that are there already are written again. That makes them as new as the name, so that
        garbage collection does not take them for old in between.
        """
        self._store.put_file(f"blobs/{info.digest}", path)
        pointer = {**asdict(info), "owner": owner}
        self._store.put(_pointer(info.name), json.dumps(pointer).encode())

    def get(self, name: str) -> UploadInfo:
        """The upload of that name; NotFoundError if there is none."""
        pointer = self._read(name)
        # Not the owner, who is no part of a resolved spec, nor fields of a newer release.
        names = {field.name for field in fields(UploadInfo)} & pointer.keys()
        return UploadInfo(**{name: pointer[name] for name in names})

    def find(self, name: str) -> UploadInfo | None:
        """The upload of that name, or None."""
        try:
            return self.get(name)
        except (NotFoundError, ValueError):
            return None

    def owner(self, name: str) -> str:
        """The uploader's API key by name, "" without keys; NotFoundError if there is no upload."""
        owner: str = self._read(name).get("owner", "")
        return owner

    def _read(self, name: str) -> dict[str, Any]:
        pointer: dict[str, Any] = json.loads(self._store.get(_pointer(name)))
        return pointer

    def names(self) -> list[str]:
        """The names of all uploads, sorted."""
        files = [info.name.removeprefix("uploads/") for info in self._store.list("uploads/")]
        return sorted(file.removesuffix(".json") for file in files)

    def all(self) -> list[UploadInfo]:
        """Every upload, by name."""
        return [info for name in self.names() if (info := self.find(name)) is not None]

    def delete(self, name: str) -> None:
        """Delete a name. The bytes stay, since a plan or another name may refer to them."""
        self._store.delete(_pointer(name))

    def read_small(self, info: UploadInfo, file: str) -> bytes | None:
        """A small file of an upload: the tokenizer.json itself, or a member of an archive.

        The member may lie in any folder. None when no member has that name or it is too large.
        """
        if info.format == "tokenizer":
            return self._store.get(f"blobs/{info.digest}")
        with tempfile.TemporaryDirectory() as directory:
            path = self.local_copy(info.digest, Path(directory))
            if info.format == "zip":
                return _from_zip(path, file)
            return _from_tar(path, file) if info.format == "tar" else None

    def local_copy(self, digest: str, directory: Path) -> Path:
        """The uploaded bytes as a local file: the store's own, or a copy in `directory`."""
        own = self._store.local_path(f"blobs/{digest}")
        if own is None:
            own = directory / digest
            self._store.download(f"blobs/{digest}", own)
            if sha256_of(own) != digest:
                raise OSError(f"the upload {digest} does not have the content it was stored with")
        return own


def _pointer(name: str) -> str:
    return f"uploads/{name}.json"


def _from_zip(path: Path, file: str) -> bytes | None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.rsplit("/", 1)[-1] == file and entry.file_size <= SMALL:
                return archive.read(entry)
    return None


def _from_tar(path: Path, file: str) -> bytes | None:
    with tarfile.open(path) as archive:
        for entry in archive:
            right = entry.isfile() and entry.name.rsplit("/", 1)[-1] == file
            if right and entry.size <= SMALL and (member := archive.extractfile(entry)):
                return member.read()
    return None
