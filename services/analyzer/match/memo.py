"""Steps of a stage that a resumed attempt does not repeat: named arrays, kept in checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.stages.stage import Stage

Arrays = Mapping[str, npt.NDArray[Any]]


class Memo:
    """What was computed so far, by the name of the step."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._kept: dict[str, Arrays] = {}
        if stage.resume is not None:
            for path in sorted(stage.resume.glob("*.npz")):
                with np.load(path, allow_pickle=False) as stored:
                    self._kept[path.stem] = dict(stored)

    def get(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of the step, computed only if no earlier attempt kept them.

        Saves a checkpoint when one is due, and raises Leave when the stage was asked to stop.
        """
        if name not in self._kept:
            self._kept[name] = compute()
            if self._stage.checkpoint_due():
                self._stage.save_checkpoint(len(self._kept), self._write)
                self._stage.leave_if_asked()
        return self._kept[name]

    def _write(self, directory: Path) -> None:
        for name, arrays in self._kept.items():
            np.savez(directory / f"{name}.npz", allow_pickle=False, **arrays)
