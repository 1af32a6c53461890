"""Stages of the merger: parameters and contracts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.stages.base import MODEL_FILES, File, Kind, Parameters
from shared.stages.fields import MaxTokens

SERVICE = "merger"
AT_ZERO, AT_ONE = "model that t = 0 gives", "model that t = 1 gives"


class MergeParameters(Parameters):
    """How two models are merged."""

    method: Literal["slerp"] = Field("slerp", description="How weights are interpolated.")
    t: float = Field(description="Place between the models, from 0 to 1.")


MERGE = Kind(
    name="merge",
    service=SERVICE,
    version=1,
    does="Merges two models of one shape into one.",
    parameters=MergeParameters,
    inputs={"at_zero": AT_ZERO, "at_one": AT_ONE},
    files={
        **MODEL_FILES,
        "tensors.jsonl": File(
            "one row for each tensor",
            {
                "name": "name of the tensor",
                "shape": "its shape",
                "dot": "cosine between the two tensors, taken as vectors; null where undefined",
                "angle_degrees": "angle between them in degrees, or null",
                "linear": "bool: interpolated linearly, as their angle does not allow SLERP",
            },
        ),
    },
    results={
        "parameters": "number of weights",
        "method": "as in the parameters",
        "t": "as in the parameters",
        "linear_fallback": "names of the tensors that were interpolated linearly",
    },
)


class SweepParameters(Parameters):
    """How many merges between two models are evaluated, and on how much text."""

    method: Literal["slerp"] = Field("slerp", description="How weights are interpolated.")
    steps: int = Field(description="Number of values of t at equal distances, 0 and 1 included.")
    max_tokens: MaxTokens = None


SWEEP = Kind(
    name="sweep",
    service=SERVICE,
    version=1,
    does="Evaluates the merges all along the way from one model to another.",
    parameters=SweepParameters,
    inputs={
        "at_zero": AT_ZERO,
        "at_one": AT_ONE,
        "tokens/*": "packed tokens of each corpus, in order",
    },
    results={
        "points": "[{t, corpora: [{loss, accuracy, tokens}]}], one for each t, ascending; corpora "
        "in the order of the inputs, figures as those of `evaluate`",
        "parameters": "number of weights",
    },
)
