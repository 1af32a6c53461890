"""Tracking of features along the lineage, and grids that show which dictionary to track with."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.spec.base import (
    Between,
    Count,
    Distinct,
    Flag,
    MemberName,
    Name,
    Number,
    Part,
    Whole,
    mistake,
)
from shared.spec.dictionaries import L0, L1, Recipe, Seeds
from shared.spec.variants import (
    OF_ONE_SIZE,
    SPARSITIES,
    VARIANTS,
    check_variant,
    sparsity_field,
    taking,
)
from shared.spec.variants.base import Features

MOST_CELLS = 256
ANCESTOR_PAIRS = 64  # compared by default; their number grows with the square of the family

Threshold = Annotated[Number, Between(0, 1, above=True)]
MinFirings = Annotated[Whole, Between(2, 10**12)]
Resamples = Annotated[Whole, Between(0, 100_000)]


class Controls(Part):
    """Controls that stand beside every share of features that persist."""

    seeds: Flag | None = Field(
        None,
        description="Compare two dictionary seeds of each model (the ceiling); by default where "
        "a model has two.",
    )
    crossed: Flag | None = Field(
        None,
        description="Compare the parent's first seed with the child's second along every edge; by "
        "default where the ceiling is computed.",
    )
    null: Flag = Field(
        True, description="Compare with the child's tokens shifted (the level of chance)."
    )
    shifts: Annotated[Whole, Between(1, 1000)] = Field(
        5, description="Different shifts that the null is a mean over."
    )
    resamples: Resamples = Field(
        200, description="Bootstrap replicates over documents, for intervals; 0 for none."
    )
    latent_scaling: Flag = Field(
        True,
        description="Search the other model's activations for features that disappear or emerge.",
    )


class Tracking(Part):
    """Features followed along every edge of the lineage."""

    dictionary: Name = Field(description="Which dictionaries.")
    corpora: Annotated[tuple[Name, ...], Distinct()] = Field(
        description="Corpora whose held-out tokens all models read, in equal parts."
    )
    tokens: Count = Field(description="Number of held-out tokens.")
    threshold: Threshold = Field(0.8, description="Correlation at which a feature persists.")
    min_firings: MinFirings = Field(10, description="Firings at which a feature counts as alive.")
    controls: Controls = Field(Controls(), description="Controls to compute.")
    ancestors: Flag | None = Field(
        None,
        description="Compare every ancestor with every descendant, not only parent and child; by "
        f"default where there are at most {ANCESTOR_PAIRS} such pairs.",
    )


class Stability(Recipe):
    """A grid of dictionaries of one model: at which sizes and sparsities do two seeds agree?"""

    model: MemberName = Field(description="Model whose activations are decomposed.")
    features: Annotated[tuple[Features, ...], Distinct(most=64)] = Field(
        description="Sizes of dictionaries."
    )
    l1: Annotated[tuple[L1, ...], Distinct(most=64)] | None = Field(
        None, description=f"Weights of the penalty ({taking('l1', 'model')}); or give l0."
    )
    l0: Annotated[tuple[L0, ...], Distinct(most=64)] | None = Field(
        None, description="Mean numbers of active features that the penalty is steered to."
    )
    k: Annotated[tuple[Features, ...], Distinct(most=64)] | None = Field(
        None, description=f"Active features of a token ({taking('k', 'model')})."
    )
    tokens: Count = Field(description="Activation vectors each dictionary is trained on.")
    seeds: Seeds = Field((0, 1), description="The first two are compared; all are evaluated.")
    corpora: Annotated[tuple[Name, ...], Distinct()] | None = Field(
        None,
        description="Corpora whose held-out tokens the dictionaries are compared on; the model's "
        "own by default.",
    )
    tracking_tokens: Count = Field(
        100_000, description="Number of held-out tokens that they are compared on."
    )
    threshold: Threshold = Field(0.8, description="Correlation at which two features are the same.")
    min_firings: MinFirings = Field(10, description="Firings at which a feature counts as alive.")
    resamples: Resamples = Field(
        200, description="Bootstrap replicates over documents, for intervals; 0 for none."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if VARIANTS[self.variant].per == "edge":
            raise mistake(f"a {self.variant} has two models, a grid has one", "variant")
        sparsity_field(self.variant, {name: getattr(self, name) for name in SPARSITIES})
        check_variant(self.variant, self)
        for name in OF_ONE_SIZE:
            if getattr(self, name) is not None:
                raise mistake("does not belong to a grid, whose sizes differ", name)
        if len(self.seeds) < 2:
            raise mistake("needs two numbers, which are compared", "seeds")
        if self.k and max(self.k) > min(self.features):
            raise mistake(
                f"must be at most the {min(self.features)} features of the smallest, "
                f"not {max(self.k)}",
                "k",
            )
        if self.l0 and max(self.l0) >= min(self.features):
            raise mistake(
                f"must be below the {min(self.features)} features of the smallest, "
                f"not {max(self.l0):g}",
                "l0",
            )
        if len(self.cells) > MOST_CELLS:
            raise mistake(
                f"and sparsities make {len(self.cells)} cells, at most {MOST_CELLS}", "features"
            )
        return self

    @property
    def sparsity(self) -> str:
        """The field that says how sparse the cells are: l1, l0 or k."""
        return sparsity_field(self.variant, {name: getattr(self, name) for name in SPARSITIES})

    @property
    def cells(self) -> list[tuple[int, float]]:
        """Features and sparsity of every dictionary of the grid, size by size."""
        return list(product(self.features, getattr(self, self.sparsity)))
