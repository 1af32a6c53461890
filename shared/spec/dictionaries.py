"""Dictionaries (sparse auto-encoders) and the tracking of their features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from shared.spec.base import (
    Between,
    Count,
    Distinct,
    Flag,
    Name,
    Number,
    OneOf,
    Part,
    Share,
    Whole,
    mistake,
    shown,
)

MAX_FEATURES = 1 << 24
Hook = Annotated[
    Literal["mlp_post"],
    OneOf(("mlp_post",), later=("mlp_out", "attn_out", "resid_pre", "resid_post")),
]
Variant = Annotated[
    Literal["relu"],
    OneOf(("relu",), later=("topk", "batchtopk", "jumprelu", "gated", "matryoshka", "crosscoder")),
]
Init = Annotated[
    Literal["independent", "shared"], OneOf(("independent", "shared"), later=("parent",))
]
L1 = Annotated[Number, Between(0, 1000)]


def _all_or_list(value: Any) -> Any:
    if isinstance(value, str) and value != "all":
        raise mistake(f"must be all or a list of models, not {shown(value)}")
    return value


# The tags start with a colon: they are left out of the path of an error.
Models = Annotated[
    Annotated[Literal["all"], Tag(":all")] | Annotated[tuple[Name, ...], Distinct(), Tag(":list")],
    Discriminator(lambda value: ":all" if isinstance(value, str) else ":list"),
    BeforeValidator(_all_or_list),
]
L1ByModel = Annotated[
    Annotated[L1, Tag(":number")] | Annotated[dict[Name, L1], Tag(":map")],
    Discriminator(lambda value: ":map" if isinstance(value, Mapping) else ":number"),
]


class Dictionaries(Part):
    """One dictionary for each model (and each seed), each on its model's own data distribution."""

    models: Models = Field("all", description="Models that get a dictionary, or all.")
    hook: Hook = Field("mlp_post", description="Hook point whose activations are decomposed.")
    layer: Annotated[Whole, Between(0, 999)] = Field(0, description="Layer of the hook point.")
    expansion: Annotated[Number, Between(0, 1024, above=True)] | None = Field(
        None, description="Features per unit of width; or give features."
    )
    features: Annotated[Whole, Between(1, MAX_FEATURES)] | None = Field(
        None, description="Number of features; or give expansion."
    )
    variant: Variant = Field("relu", description="Kind of dictionary.")
    l1: L1ByModel = Field(
        description="Weight of the L1 penalty, or one for each model (`default` for the others)."
    )
    l1_warmup_steps: Annotated[Whole, Between(0, 10**9)] = Field(
        0, description="Steps over which the penalty rises from 0."
    )
    learning_rate: Annotated[Number, Between(0, 10, above=True)] = Field(
        1e-4, description="Learning rate of Adam."
    )
    learning_rate_decay: Share = Field(
        0.0, description="Share of the steps, at the end, over which the rate falls to 0."
    )
    betas: tuple[Share, Share] = Field((0.9, 0.9999), description="Betas of Adam.")
    tokens: Count = Field(description="Activation vectors it is trained on.")
    context: Annotated[Whole, Between(1, 1 << 20)] = Field(
        24, description="Tokens of a context that the model reads."
    )
    batch: Annotated[Whole, Between(1, 1 << 20)] = Field(128, description="Contexts a step.")
    revive: Literal["ghost", "resample", "none"] = Field(
        "ghost", description="What is done about dead features."
    )
    dead_after_steps: Annotated[Whole, Between(1, 10**9)] = Field(
        1000, description="Silent steps after which a feature counts as dead."
    )
    seeds: Annotated[tuple[Annotated[Whole, Between(0, 2**31 - 1)], ...], Distinct(most=16)] = (
        Field((0,), description="One dictionary of each model for every number.")
    )
    init: Init = Field(
        "independent",
        description="Whether models start from their own random weights or from the same.",
    )
    harvest: Literal["auto", "stream", "shards"] = Field(
        "auto", description="Store the activations first, or compute them while training."
    )
    evaluate_tokens: Count = Field(
        100_000, description="Held-out tokens on which a dictionary is evaluated."
    )

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        return self.exactly_one("expansion", "features")

    def l1_of(self, model: str) -> float | None:
        """The L1 weight of that model's dictionary; None when none is given."""
        if isinstance(self.l1, dict):
            return self.l1.get(model, self.l1.get("default"))
        return self.l1


class Controls(Part):
    """Controls that stand beside every share of features that persist."""

    seeds: Flag | None = Field(
        None,
        description="Compare two dictionary seeds of each model (the ceiling); by default where "
        "there are two.",
    )
    null: Flag = Field(
        True, description="Compare with the child's tokens shifted (what chance alone gives)."
    )


class Tracking(Part):
    """Features followed along every edge of the lineage."""

    dictionary: Name = Field(description="Which dictionaries.")
    corpora: Annotated[tuple[Name, ...], Distinct()] = Field(
        description="Corpora whose held-out tokens all models read, in equal parts."
    )
    tokens: Count = Field(description="Number of held-out tokens.")
    threshold: Annotated[Number, Between(0, 1, above=True)] = Field(
        0.8, description="Correlation from which a feature persists."
    )
    min_firings: Annotated[Whole, Between(2, 10**12)] = Field(
        10, description="Firings from which a feature counts as alive."
    )
    controls: Controls = Field(Controls(), description="Controls to compute.")
