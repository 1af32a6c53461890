"""What a variant of dictionaries says of itself, and the setting that several variants have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.spec.base import Between, Number, Whole
from shared.spec.own_settings import Configurable, InEveryKey, OwnSettings

MAX_FEATURES = 1 << 24
AUX_COEFFICIENT = 1 / 32  # Gao et al. 2024, Scaling and evaluating sparse autoencoders, section A.2
Features = Annotated[Whole, Between(1, MAX_FEATURES)]
Sparsity = Literal["l1", "l0", "k"]
Revive = Literal["ghost", "resample", "aux", "none"]


class VariantSettings(OwnSettings):
    """Settings of one variant. Those in `OF_ONE_SIZE` fit a single number of features."""

    OF_ONE_SIZE: ClassVar[tuple[str, ...]] = ()

    def check(self, features: int | None) -> None:
        """Raise a mistake where they do not fit a number of features, as far as it is known."""


class AuxiliarySettings(VariantSettings):
    """Of variants that bring dead features back by an auxiliary loss."""

    aux_coefficient: Annotated[
        Annotated[Number, Between(0, 1000)] | None, InEveryKey(AUX_COEFFICIENT)
    ] = Field(
        None,
        description="Weight of the loss that dead features take part in (variants with k); 1/32 "
        "by default.",
    )

    @property
    def coefficient(self) -> float:
        """The weight: as given, or the default."""
        return AUX_COEFFICIENT if self.aux_coefficient is None else self.aux_coefficient


@dataclass(frozen=True, kw_only=True)
class VariantDeclaration(Configurable):
    """A kind of dictionary as a spec knows it.

    `sparsity` names the fields that say how sparse it is: l1 and l0 (a weight of the penalty, or
    the mean number of active features that this weight is steered to), or k; one of them is given.
    `revivals` is what may be done about dead features, the default first. A variant that is trained
    `per` model has its code in services/sae/variants; one of an edge (a parent and its child)
    is a stage of its own, in the folder of services/sae that has its name.
    """

    sparsity: tuple[Sparsity, ...]
    revivals: tuple[Revive, ...] = ("none",)
    settings: type[VariantSettings] = VariantSettings
    per: Literal["model", "edge"] = "model"

    @property
    def with_k(self) -> bool:
        """True where the number of active features is given, and no penalty."""
        return self.sparsity == ("k",)
