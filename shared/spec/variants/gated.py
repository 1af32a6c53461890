"""Gated: one path decides which features are active, another how much."""

from __future__ import annotations

from shared.spec.variants.base import VariantDeclaration

VARIANT = VariantDeclaration(
    name="gated",
    summary="one path decides which features are active, another how much",
    sparsity=("l1", "l0"),
)
