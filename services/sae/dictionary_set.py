"""Stage `dictionary_set`: several dictionaries of one model in one pass over its activations.

A member of a set is the same dictionary, bit for bit (CPU), as one trained alone from the same
parameters: its randomness follows from these and the step alone.
"""

from __future__ import annotations

from services.sae.training.together import Directories, train_all
from shared.stages.sae import DictionaryParameters, DictionarySetParameters
from shared.stages.stage import Stage, StageError

COMMON = ("hook", "layer", "tokens", "context", "batch", "seed", "replicate")


def run(stage: Stage) -> None:
    """Write 0/, 1/ .. each with the files of a dictionary; results members.

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
