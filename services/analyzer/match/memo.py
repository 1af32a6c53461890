"""Steps of a stage that a resumed attempt does not repeat: named arrays, saved in checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.stages.stage import Stage

Arrays = Mapping[str, npt.NDArray[Any]]


class Memo:
    """The arrays computed so far, by the name of the step."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._arrays: dict[str, Arrays] = {}
        if stage.resume is not None:
            for path in sorted(stage.resume.glob("*.npz")):
                with np.load(path, allow_pickle=False) as stored:
                    self._arrays[path.stem] = dict(stored)

    def get(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of the step, computed only if no earlier attempt has saved them.

        Saves a checkpoint when one is due, and raises Leave when the stage was asked to stop.
        """
        if name not in self._arrays:
            self._arrays[name] = compute()
            if self._stage.checkpoint_due():
                self._stage.save_checkpoint(len(self._arrays), self._write)
                self._stage.leave_if_asked()
        return self._arrays[name]

    def _write(self, directory: Path) -> None:
        for name, arrays in self._arrays.items():
            np.savez(directory / f"{name}.npz", allow_pickle=False, **arrays)
