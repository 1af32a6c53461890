"""JumpReLU: a learned threshold for each feature."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.spec.base import Between, Number
from shared.spec.own_settings import InEveryKey
from shared.spec.variants.base import VariantDeclaration, VariantSettings


class JumpReluSettings(VariantSettings):
    """How the jump is differentiated."""

    bandwidth: Annotated[
        Annotated[Number, Between(0, 1000, above=True)] | None, InEveryKey(None)
    ] = Field(None, description="jumprelu: width of the pseudo-derivative.")


VARIANT = VariantDeclaration(
    name="jumprelu",
    summary="a learned threshold for each feature, and a penalty on the number of active ones",
    sparsity=("l1", "l0"),
    settings=JumpReluSettings,
)
