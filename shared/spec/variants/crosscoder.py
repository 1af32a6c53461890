"""Crosscoder: one dictionary of two models at once."""

from __future__ import annotations

from shared.spec.variants.base import AuxiliarySettings, VariantDeclaration

VARIANT = VariantDeclaration(
    name="crosscoder",
    summary="one dictionary of a parent and its child, trained for every edge",
    sparsity=("k",),
    revivals=("aux", "none"),
    settings=AuxiliarySettings,
    per="edge",
)
