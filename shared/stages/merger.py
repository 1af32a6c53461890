"""Stages of the merger: parameters and contracts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.spec.base import OneOf
from shared.spec.merges import DEFAULT, METHODS
from shared.spec.own_settings import in_stage
from shared.stages.base import MODEL_FILES, File, Kind, Parameters
from shared.stages.fields import MaxTokens

SERVICE = "merger"
AT_ZERO, AT_ONE = "model that t = 0 gives", "model that t = 1 gives"


@in_stage(METHODS)
class MergeParameters(Parameters):
    """How two models are merged."""

    method: Annotated[str, OneOf(tuple(METHODS))] = Field(
        DEFAULT, description="How weights are interpolated."
    )
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
                **{key: text for one in METHODS.values() for key, text in one.notes.items()},
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


@in_stage(METHODS)
class SweepParameters(Parameters):
    """How many merges between two models are evaluated, and on how much text."""

    method: Annotated[str, OneOf(tuple(METHODS))] = Field(
        DEFAULT, description="How weights are interpolated."
    )
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
