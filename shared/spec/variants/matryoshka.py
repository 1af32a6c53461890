"""Matryoshka: nested dictionaries, each of which has to reconstruct by itself."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field

from shared.spec.base import Distinct, mistake
from shared.spec.own_settings import InEveryKey
from shared.spec.variants.base import AuxiliarySettings, Features, VariantDeclaration


class MatryoshkaSettings(AuxiliarySettings):
    """The sizes of the nested dictionaries."""

    OF_ONE_SIZE: ClassVar[tuple[str, ...]] = ("prefixes",)

    prefixes: Annotated[
        Annotated[tuple[Features, ...], Distinct(most=64)] | None, InEveryKey(None)
    ] = Field(
        None,
        description="matryoshka: sizes of the nested dictionaries, the last one the whole; a "
        "sixteenth, an eighth .. of the features by default.",
    )

    def check(self, features: int | None) -> None:
        """They ascend to the number of features."""
        if self.prefixes is None:
            return
        if any(after <= before for before, after in pairwise(self.prefixes)):
            raise mistake("must ascend, each size larger than the one before", "prefixes")
        if features is not None and self.prefixes[-1] != features:
            raise mistake(
                f"must end with all {features} features, not with {self.prefixes[-1]}", "prefixes"
            )


VARIANT = VariantDeclaration(
    name="matryoshka",
    summary="batchtopk in nested dictionaries, each of which has to reconstruct by itself",
    sparsity=("k",),
    revivals=("aux", "none"),
    settings=MatryoshkaSettings,
)
