"""Checkpoints of long stages in the store: files first, then the pointer that makes them count."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from shared.artifacts import Delivery, StoredFile, sha256_of
from shared.failpoints import reached
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

    def save(self, key: str, step: int, files: Delivery) -> None:
        """Deliver a whole checkpoint and point to it; the older one goes.

        After a StoreError the older checkpoint is still in force, and save may be called again.
        """
        before = self.newest(key)
        files.deliver()
        reached("before-checkpoint-pointer")
        checkpoint = Checkpoint(step=step, prefix=files.prefix, files=files.files)
        self._store.put(f"stages/{key}/checkpoint.json", checkpoint.model_dump_json().encode())
        if before is not None and before.prefix != files.prefix:
            self._delete_files(before)

    def delivery(self, key: str, attempt: str, step: int, directory: Path) -> Delivery:
        """What `save` takes, for a checkpoint in a local directory."""
        return Delivery(self._store, directory, f"stages/{key}/checkpoints/{attempt}-{step}")

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
