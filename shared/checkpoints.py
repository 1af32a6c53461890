"""Checkpoints of long stages in the store: files first, then the pointer that makes them count."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from shared.artifacts import StoredFile, sha256_of
from shared.store import NotFoundError, Store


class Checkpoint(BaseModel):
    """The newest whole checkpoint of a stage."""

    model_config = ConfigDict(frozen=True)

    step: int
    prefix: str
    files: dict[str, StoredFile]


class Checkpoints:
    """Checkpoints of all stages; each stage keeps only its newest."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest(self, key: str) -> Checkpoint | None:
        """The checkpoint to go on from, if there is one."""
        try:
            data = self._store.get(f"stages/{key}/checkpoint.json")
        except NotFoundError:
            return None
        return Checkpoint.model_validate_json(data)

    def save(self, key: str, attempt: str, step: int, directory: Path) -> None:
        """Move a whole checkpoint directory into the store and point to it."""
        before = self.newest(key)
        prefix = f"stages/{key}/checkpoints/{attempt}-{step}"
        files = {}
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                name = path.relative_to(directory).as_posix()
                files[name] = StoredFile(bytes=path.stat().st_size, sha256=sha256_of(path))
                self._store.put_file(f"{prefix}/{name}", path)
        checkpoint = Checkpoint(step=step, prefix=prefix, files=files)
        self._store.put(f"stages/{key}/checkpoint.json", checkpoint.model_dump_json().encode())
        if before is not None and before.prefix != prefix:
            self._delete_files(before)

    def fetch(self, checkpoint: Checkpoint, directory: Path) -> Path:
        """Copy a checkpoint's files to a local directory; OSError if one is damaged."""
        for name, stored in checkpoint.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(f"{checkpoint.prefix}/{name}", path)
            if sha256_of(path) != stored.sha256:
                raise OSError(
                    f"the checkpoint file {name} does not have the content it was saved with"
                )
        return directory

    def delete(self, key: str) -> None:
        """Remove the stage's checkpoint (it is finished)."""
        checkpoint = self.newest(key)
        if checkpoint is not None:
            self._store.delete(f"stages/{key}/checkpoint.json")
            self._delete_files(checkpoint)

    def _delete_files(self, checkpoint: Checkpoint) -> None:
        for name in checkpoint.files:
            self._store.delete(f"{checkpoint.prefix}/{name}")
