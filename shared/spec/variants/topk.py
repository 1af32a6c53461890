"""TopK: exactly k features of every token."""

from __future__ import annotations

from shared.spec.variants.base import AuxiliarySettings, VariantDeclaration

VARIANT = VariantDeclaration(
    name="topk",
    summary="the k largest pre-activations of every token",
    sparsity=("k",),
    revivals=("aux", "none"),
    settings=AuxiliarySettings,
)
