"""Parameters of the stages of the merger."""

from __future__ import annotations

from typing import Literal

from shared.stages.base import Parameters


class MergeParameters(Parameters):
    """Inputs: at_zero, at_one (models). Files: a Hugging Face model directory, tensors.jsonl.

    Results: parameters, method, t, linear_fallback (names of tensors).
    """

    method: Literal["slerp"] = "slerp"
    t: float


class SweepParameters(Parameters):
    """Inputs: at_zero, at_one, tokens/0.. Results: points, [{t, corpora: [{loss, accuracy,
    tokens}]}], parameters. t runs over `steps` values, 0 and 1 included.
    """

    method: Literal["slerp"] = "slerp"
    steps: int
    max_tokens: int | None = None
