"""Stage `dictionary_member`: one dictionary out of a set, as an artifact of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from shared.stages.sae import MemberParameters
from shared.stages.stage import Stage, StageError


def run(stage: Stage) -> None:
    """Write the files of one dictionary of the input `set`, with its results.

    Raises StageError when the set has no such member.
    """
    number = MemberParameters.model_validate(stage.parameters).member
    whole = stage.input("set")
    results = whole.results["members"]
    if not 0 <= number < len(results):
        raise StageError(f"member: the set has {len(results)} dictionaries, not a number {number}")
    for file in sorted((whole.path / str(number)).iterdir()):
        _link(file, stage.output / file.name)
    stage.results.update(results[number])


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
