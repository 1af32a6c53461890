"""Prepare a stage on this machine: its working directory, its inputs, its checkpoint."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.plan import PlannedStage
from shared.records.artifacts import Artifacts, Manifest, shrink
from shared.records.checkpoints import Checkpoints
from shared.records.uploads import UploadStore
from shared.settings import Settings
from shared.store import NotFoundError, Store
from shared.worker.child import AssignedInput, Assignment

LOCK = "lock"  # file that is locked as long as the attempt's directory is in use


@contextlib.contextmanager
def working_directory(work: Path, attempt: str) -> Iterator[Path]:
    """A directory for one attempt, deleted when the attempt ends, whatever happens.

    Directories of attempts whose process was killed are deleted too: nobody holds their locks.
    """
    directory = work / attempt
    directory.mkdir(parents=True)
    with (directory / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _sweep(work)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def _sweep(work: Path) -> None:
    for path in work.iterdir():
        with contextlib.suppress(OSError), (path / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)


class Preparation:
    """Lays out what stages need, from the store."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._cache = settings.data.resolve() / "cache"
        self._artifacts = Artifacts(store)
        self._checkpoints = Checkpoints(store)
        self._uploads = UploadStore(store)

    def prepare(self, stage: PlannedStage, inputs: Mapping[str, Manifest], directory: Path) -> int:
        """Fill the attempt's directory; returns the step of the checkpoint to resume from, or 0.

        Raises StoreError when the store does not answer, OSError when a stored file is damaged.
        """
        for name in ("output", "scratch", "checkpoints", "nothing"):
            (directory / name).mkdir()
        shrink(self._cache, self._settings.cache_limit)
        laid_out = {
            name: AssignedInput(
                key=manifest.key,
                path=directory / "nothing"
                if name in stage.light
                else self._artifacts.lay_out(manifest, self._cache),
                results=manifest.results,
            )
            for name, manifest in inputs.items()
        }
        step, resume = self._checkpoint(stage.key, directory / "resume")
        assignment = Assignment(
            key=stage.key,
            kind=stage.kind,
            service=stage.service,
            parameters=stage.parameters,
            inputs=laid_out,
            uploads={
                digest: self._uploads.local_copy(digest, directory) for digest in stage.uploads
            },
            resume=resume,
            checkpoint_seconds=self._settings.checkpoint,
        )
        (directory / "assignment.json").write_text(assignment.model_dump_json())
        return step

    def _checkpoint(self, key: str, directory: Path) -> tuple[int, Path | None]:
        """Step and files of the newest checkpoint; one that vanishes was replaced by a newer."""
        while (checkpoint := self._checkpoints.newest(key)) is not None:
            try:
                return checkpoint.step, self._checkpoints.fetch(checkpoint, directory)
            except NotFoundError:
                shutil.rmtree(directory, ignore_errors=True)
                if self._checkpoints.newest(key) == checkpoint:
                    break
        return 0, None
