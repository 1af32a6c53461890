"""Whether a dictionary fits the activations of a model."""

from __future__ import annotations

from shared.lm.dictionary import Dictionary
from shared.stages.stage import StageError


def check_width(dictionary: Dictionary, width: int) -> None:
    """Raise StageError when the dictionary is not for activations of that width."""
    if dictionary.width != width:
        raise StageError(
            f"the dictionary was trained at width {dictionary.width}, "
            f"the model's activations have width {width}"
        )
