"""BatchTopK: k features of a token on average."""

from __future__ import annotations

from shared.spec.variants.base import AuxiliarySettings, VariantDeclaration

VARIANT = VariantDeclaration(
    name="batchtopk",
    summary="the largest pre-activations of a batch, k a token on average",
    sparsity=("k",),
    revivals=("aux", "none"),
    settings=AuxiliarySettings,
)
