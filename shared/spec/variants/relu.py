"""ReLU with an L1 penalty."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.spec.own_settings import InEveryKey
from shared.spec.variants.base import VariantDeclaration, VariantSettings


class ReluSettings(VariantSettings):
    """Which of two forms of the penalty: Bricken et al. 2023, or Conerly et al. 2024."""

    decoder_norm: Annotated[Literal["unit", "penalised"], InEveryKey("unit")] = Field(
        "unit",
        description="relu: decoder directions of unit norm, or free ones whose norm weights the "
        "penalty.",
    )


VARIANT = VariantDeclaration(
    name="relu",
    summary="ReLU with an L1 penalty on the activations",
    sparsity=("l1", "l0"),
    revivals=("ghost", "resample", "none"),
    settings=ReluSettings,
)
