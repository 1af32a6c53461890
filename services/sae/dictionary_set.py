"""Stages `dictionary_set`, several dictionaries in one pass, and `dictionary_member`, one of them.

A member of a set is the same dictionary, bit for bit (CPU), as one trained alone from the same
parameters: its randomness follows from these and the step alone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from services.sae.dictionary import Directories, train_all
from shared.stages.sae import DictionaryParameters, DictionarySetParameters, MemberParameters
from shared.stages.stage import Stage, StageError

COMMON = ("hook", "layer", "tokens", "context", "batch", "seed", "replicate")


def run(stage: Stage) -> None:
    """Write 0/, 1/ .. each with the files of a dictionary; see DictionarySetParameters.

    Raises StageError as `dictionary` does, and for members that would read other activations.
    """
    members = DictionarySetParameters.model_validate(stage.parameters).members
    check_members(members)
    outputs = [stage.output / str(number) for number in range(len(members))]
    for output in outputs:
        output.mkdir()
    results = train_all(stage, members, Directories(outputs, "{member}"))
    stage.results.update(members=results)


def check_members(members: tuple[DictionaryParameters, ...]) -> None:
    """Raise StageError unless there are members and all read the same activations."""
    if not members:
        raise StageError("members: a set needs at least one dictionary")
    for number, member in enumerate(members):
        for field in COMMON:
            own, first = getattr(member, field), getattr(members[0], field)
            if own != first:
                raise StageError(
                    f"members: {field} must be the same for all, it is {first!r} for member 0 "
                    f"and {own!r} for member {number}"
                )


def run_member(stage: Stage) -> None:
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
