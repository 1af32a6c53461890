"""Models that a training run keeps along the way: one directory of its output for each step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from shared.stages.stage import StageError

PREFIX = "step-"


def checkpoint_name(step: int) -> str:
    """Name of the directory with the model after a step."""
    return f"{PREFIX}{step:08d}"


def check_steps(checkpoints: Sequence[int], steps: int) -> None:
    """Raise StageError unless the steps ascend from 1 and end before the last step of the run."""
    if list(checkpoints) != sorted(set(checkpoints)) or (checkpoints and checkpoints[0] < 1):
        raise StageError(f"checkpoints: {list(checkpoints)} must ascend from 1")
    if checkpoints and checkpoints[-1] >= steps:
        raise StageError(
            f"checkpoints: {checkpoints[-1]} must be below the last step of the run, which is "
            f"{steps}"
        )


def link_checkpoints(source: Path, target: Path) -> None:
    """Put the kept models of one directory into another as well.

    Files are linked where possible, since nothing changes them once they are written.
    """
    for directory in sorted(source.glob(f"{PREFIX}*")):
        (target / directory.name).mkdir(exist_ok=True)
        for file in sorted(directory.iterdir()):
            place = target / directory.name / file.name
            place.unlink(missing_ok=True)
            try:
                os.link(file, place)
            except OSError:  # another file system
                shutil.copyfile(file, place)
