"""Dictionaries (sparse auto-encoders): how they are trained, or where existing ones come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag, model_validator

from shared.spec.base import (
    Between,
    Count,
    Distinct,
    HubId,
    MemberName,
    Number,
    OneOf,
    Part,
    Pattern,
    Revision,
    Share,
    UploadName,
    Whole,
    mistake,
    shown,
)
from shared.spec.own_settings import in_spec
from shared.spec.registry import prose
from shared.spec.variants import (
    DEFAULT,
    DEFAULT_WITH_K,
    OF_ONE_SIZE,
    SPARSITIES,
    VARIANTS,
    check_variant,
    sparsity_field,
    taking,
)
from shared.spec.variants.base import MAX_FEATURES, Features, Revive

Hook = Literal["mlp_post", "mlp_out", "attn_out", "resid_pre", "resid_post"]
Variant = Annotated[str, OneOf(tuple(VARIANTS))]
Steps = Annotated[Whole, Between(0, 10**9)]
L1 = Annotated[Number, Between(0, 1000)]
L0 = Annotated[Number, Between(0, MAX_FEATURES, above=True)]
Seeds = Annotated[tuple[Annotated[Whole, Between(0, 2**31 - 1)], ...], Distinct(most=16)]


def _all_or_list(value: Any) -> Any:
    if isinstance(value, str) and value != "all":
        raise mistake(f"must be all or a list of models, not {shown(value)}")
    return value


# The tags start with a colon: they are left out of the path of an error.
Models = Annotated[
    Annotated[Literal["all"], Tag(":all")]
    | Annotated[tuple[MemberName, ...], Distinct(), Tag(":list")],
    Discriminator(lambda value: ":all" if isinstance(value, str) else ":list"),
    BeforeValidator(_all_or_list),
]
L1ByModel = Annotated[
    Annotated[L1, Tag(":number")] | Annotated[dict[MemberName, L1], Tag(":map")],
    Discriminator(lambda value: ":map" if isinstance(value, Mapping) else ":number"),
]
PathInRepository = Annotated[
    str,
    Strict(),
    Pattern(r"(?!.*\.\.)[A-Za-z0-9][\w./ -]{0,199}", "a directory of the repository"),
]


@in_spec(VARIANTS)
class VariantChoice(Part):
    """Where a dictionary is trained, and which variant it is, with the settings of each variant."""

    hook: Hook = Field("mlp_post", description="Hook point whose activations are decomposed.")
    layer: Annotated[Whole, Between(0, 999)] = Field(0, description="Layer of the hook point.")
    variant: Variant = Field(
        DEFAULT,
        description=f"Kind of dictionary ({prose(VARIANTS)}). By default {DEFAULT_WITH_K} where k "
        f"is given, otherwise {DEFAULT}.",
    )


class Recipe(VariantChoice):
    """How a dictionary is trained: what single dictionaries and grids of them have in common."""

    sparsity_warmup_steps: Steps = Field(
        0, description="Steps over which the penalty rises from 0."
    )
    learning_rate: Annotated[Number, Between(0, 10, above=True)] = Field(
        1e-4, description="Learning rate of Adam."
    )
    warmup_steps: Steps = Field(0, description="Steps over which the learning rate rises from 0.")
    learning_rate_decay: Share = Field(
        0.0, description="Share of the steps, at the end, over which the rate falls to 0."
    )
    betas: tuple[Share, Share] = Field((0.9, 0.9999), description="Betas of Adam.")
    context: Annotated[Whole, Between(1, 1 << 20)] = Field(
        24, description="Tokens of a context that the model reads."
    )
    batch: Annotated[Whole, Between(1, 1 << 20)] = Field(128, description="Contexts a step.")
    revive: Revive | None = Field(
        None,
        description="What is done about dead features: ghost for relu, aux for variants with k and "
        "none for the others by default.",
    )
    dead_after_steps: Annotated[Whole, Between(1, 10**9)] = Field(
        1000, description="Silent steps after which a feature counts as dead."
    )
    evaluate_tokens: Count = Field(
        100_000, description="Held-out tokens on which a dictionary is evaluated."
    )

    @model_validator(mode="before")
    @classmethod
    def _variant_of_sparsity(cls, values: Any) -> Any:
        """Without a variant, k alone means DEFAULT_WITH_K."""
        if not isinstance(values, Mapping) or "variant" in values:
            return values
        given = [name for name in SPARSITIES if values.get(name) is not None]
        return {**values, "variant": DEFAULT_WITH_K} if given == ["k"] else values

    @property
    def reviving(self) -> Revive:
        """What is done about dead features: as given, or the variant's default."""
        return self.revive or VARIANTS[self.variant].revivals[0]


class ImportedDictionary(Part):
    """A dictionary that SAELens can read. Exactly one of hub and upload."""

    hub: HubId | None = Field(None, description="Repository on the Hugging Face hub.")
    revision: Revision | None = Field(
        None, description="Commit, branch or tag of that repository; the newest commit by default."
    )
    path: PathInRepository | None = Field(
        None, description="Directory of the repository with cfg.json; its root by default."
    )
    upload: UploadName | None = Field(
        None, description="Name of an uploaded zip or tar archive with cfg.json."
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        self.exactly_one("hub", "upload")
        for field in ("revision", "path"):
            if self.hub is None and getattr(self, field) is not None:
                raise mistake("belongs to a dictionary from the hub", field)
        return self


class Dictionaries(Recipe):
    """One dictionary for each model (and each seed), each on its model's own data distribution."""

    models: Models = Field(
        "all", description="Models (checkpoints as {model}@{step}) that get a dictionary, or all."
    )
    expansion: Annotated[Number, Between(0, 1024, above=True)] | None = Field(
        None, description="Features per unit of width; or give features."
    )
    features: Features | None = Field(None, description="Number of features; or give expansion.")
    l1: L1ByModel | None = Field(
        None,
        description=f"Weight of the penalty ({taking('l1')}), or one for each model "
        "(`default` for the others); or give l0.",
    )
    l0: L0 | None = Field(
        None, description="Mean number of active features that the penalty is steered to."
    )
    k: Features | None = Field(
        None,
        description=f"Active features of a token, exactly or on average ({taking('k')}).",
    )
    tokens: Count | None = Field(None, description="Activation vectors it is trained on.")
    seeds: Seeds = Field((0,), description="One dictionary of each model for every number.")
    init: Literal["independent", "shared", "parent"] = Field(
        "independent",
        description="Whether models start from their own random weights, from the same, or from "
        "the dictionary of their parent (a merge from that of at_zero).",
    )
    harvest: Literal["auto", "stream", "shards"] = Field(
        "auto", description="Store the activations first, or compute them while training."
    )
    import_: dict[MemberName, ImportedDictionary] | None = Field(
        None,
        alias="import",
        min_length=1,
        max_length=128,
        description="Dictionaries that exist, by model. Then only hook, layer, context and "
        "evaluate_tokens are read.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.import_ is not None:
            self._only_imported()
            return self
        self.exactly_one("expansion", "features")
        if self.tokens is None:
            raise mistake("is missing", "tokens")
        sparsity_field(self.variant, {name: getattr(self, name) for name in SPARSITIES})
        check_variant(self.variant, self)
        VARIANTS[self.variant].settings.of(self).check(self.features)
        if self.k is not None and self.features is not None and self.k > self.features:
            raise mistake(f"must be at most the {self.features} features, not {self.k}", "k")
        if self.l0 is not None and self.features is not None and self.l0 >= self.features:
            raise mistake(f"must be below the {self.features} features, not {self.l0:g}", "l0")
        if VARIANTS[self.variant].per == "edge":
            self._is_of_an_edge()
        return self

    def _only_imported(self) -> None:
        for field in ("expansion", "features", *SPARSITIES, *OF_ONE_SIZE, "tokens", "revive"):
            if getattr(self, field) is not None:
                raise mistake("does not belong to dictionaries that exist", field)
        if VARIANTS[self.variant].per == "edge":
            raise mistake(f"a {self.variant} is trained here, not imported", "import")
        if self.models != "all":
            raise mistake("are the names in import when dictionaries exist; leave it out", "models")
        if len(self.seeds) > 1:
            raise mistake("has one number when dictionaries exist", "seeds")

    def _is_of_an_edge(self) -> None:
        variant = self.variant
        if len(self.seeds) > 1:
            raise mistake(f"has one number for a {variant}", "seeds")
        if self.init != "independent":
            raise mistake(f"must be independent for a {variant}, not {self.init}", "init")
        if self.harvest == "shards":
            raise mistake(
                f"must be auto or stream for a {variant}, which reads two models", "harvest"
            )

    @property
    def vectors(self) -> int:
        """Activation vectors that training reads; 0 where there is none."""
        return self.tokens or 0

    def l1_of(self, model: str) -> float | None:
        """The L1 weight of that model's dictionary; None when none is given."""
        if isinstance(self.l1, dict):
            return self.l1.get(model, self.l1.get("default"))
        return self.l1
