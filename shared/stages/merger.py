"""Parameters of the stages of the merger."""

from __future__ import annotations

from typing import Annotated

from shared.spec.base import OneOf
from shared.spec.merges import DEFAULT, METHODS
from shared.spec.own_settings import in_stage
from shared.stages.base import Parameters


@in_stage(METHODS)
class MergeParameters(Parameters):
    """Inputs: at_zero, at_one (models). Files: a Hugging Face model directory, tensors.jsonl.

    Results: parameters, method, t, linear_fallback (names of tensors).
    """

    method: Annotated[str, OneOf(tuple(METHODS))] = DEFAULT
    t: float


@in_stage(METHODS)
class SweepParameters(Parameters):
    """Inputs: at_zero, at_one, tokens/0.. Results: points, [{t, corpora: [{loss, accuracy,
    tokens}]}], parameters. t runs over `steps` values, 0 and 1 included.
    """

    method: Annotated[str, OneOf(tuple(METHODS))] = DEFAULT
    steps: int
    max_tokens: int | None = None
