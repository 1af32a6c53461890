"""The spec: the one document that a user writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.spec.base import Between, Count, Name, Part, Whole
from shared.spec.corpora import Corpus, Tokenizer
from shared.spec.dictionaries import Dictionaries
from shared.spec.explain import Explain
from shared.spec.models import Model, Sweep
from shared.spec.tracking import Stability, Tracking

MANY = 128  # corpora and models of one spec
SOME = 16  # sweeps, groups of dictionaries, trackings and grids of one spec


class Spec(Part):
    """An experiment. The names of corpora, models and so on are the user's."""

    version: Literal[1] = Field(description="Version of this format.")
    name: Name = Field(description="Name of the experiment.")
    seed: Annotated[Whole, Between(0, 2**31 - 1)] = Field(
        1337, description="Everything random follows from it."
    )
    block: Annotated[Whole, Between(2, 1 << 20)] = Field(
        256, description="Tokens of a packed block, the length of a training sequence."
    )
    evaluate_tokens: Count | None = Field(
        None,
        description="Held-out tokens of a corpus on which models are evaluated; all by default.",
    )
    tokenizer: Tokenizer = Field(description="The tokenizer that all models share.")
    corpora: dict[Name, Corpus] = Field(max_length=MANY, description="Texts, by name.")
    models: dict[Name, Model] = Field(max_length=MANY, description="Models, by name.")
    sweeps: dict[Name, Sweep] = Field({}, max_length=SOME, description="Merge sweeps, by name.")
    dictionaries: dict[Name, Dictionaries] = Field(
        {}, max_length=SOME, description="Dictionaries, by name."
    )
    tracking: dict[Name, Tracking] = Field({}, max_length=SOME, description="Trackings, by name.")
    stability: dict[Name, Stability] = Field(
        {}, max_length=SOME, description="Grids of dictionaries, by name."
    )
    # Left out of a dump when there is none, so that experiments without it keep their ids.
    explain: Explain | None = Field(
        None,
        exclude_if=lambda value: value is None,
        description="Explanations of features, with scores.",
    )
