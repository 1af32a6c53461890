"""Checkpoints of long stages in the store: files first, then the pointer that makes them count."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from shared.failpoints import reached
from shared.records.artifacts import Delivery, Descriptions, StoredFile, sha256_of
from shared.store import NotFoundError, Store


class Checkpoint(BaseModel):
    """The newest complete checkpoint of a stage; `places` names the object that holds each file.

    A file that has not changed since the previous checkpoint is not stored again: a stage may keep
    its whole output so far in its checkpoints, and each costs only what is new.
    """

    model_config = ConfigDict(frozen=True)

    step: int
    files: dict[str, StoredFile]
    places: dict[str, str]


class Checkpoints:
    """Checkpoints of all stages; each stage keeps only its newest."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def newest(self, key: str) -> Checkpoint | None:
        """The checkpoint to resume from, or None where there is none that this release can read."""
        try:
            data = self._store.get(f"stages/{key}/checkpoint.json")
            return Checkpoint.model_validate_json(data)
        except (NotFoundError, ValidationError):
            return None

    def save(self, key: str, step: int, files: Delivery) -> None:
        """Store a complete checkpoint, point to it and delete the older one.

        After a StoreError the older checkpoint is still in force, and `save` may be called again.
        """
        before = self.newest(key)
        places = {name: f"{files.prefix}/{name}" for name in files.files}
        unchanged = {
            name: place
            for name, place in (before.places.items() if before else ())
            if before and before.files[name] == files.files.get(name)
        }
        files.deliver(leave=unchanged)
        reached("before-checkpoint-pointer")
        checkpoint = Checkpoint(step=step, files=files.files, places=places | unchanged)
        self._store.put(f"stages/{key}/checkpoint.json", checkpoint.model_dump_json().encode())
        self._delete(set(before.places.values() if before else ()) - {*checkpoint.places.values()})

    def delivery(
        self,
        key: str,
        attempt: str,
        step: int,
        directory: Path,
        descriptions: Descriptions | None = None,
    ) -> Delivery:
        """The files of a checkpoint in a local directory, for `save`."""
        prefix = f"stages/{key}/checkpoints/{attempt}-{step}"
        return Delivery(self._store, directory, prefix, descriptions)

    def fetch(self, checkpoint: Checkpoint, directory: Path) -> Path:
        """Copy a checkpoint's files to a local directory; OSError if one is damaged."""
        for name, stored in checkpoint.files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(checkpoint.places[name], path)
            if sha256_of(path) != stored.sha256:
                raise OSError(
                    f"the checkpoint file {name} does not have the content it was saved with"
                )
        return directory

    def delete(self, key: str) -> None:
        """Delete the stage's checkpoint, once the stage is finished."""
        checkpoint = self.newest(key)
        if checkpoint is not None:
            self._store.delete(f"stages/{key}/checkpoint.json")
            self._delete(set(checkpoint.places.values()))

    def _delete(self, names: set[str]) -> None:
        for name in sorted(names):
            self._store.delete(name)
