"""Sparse auto-encoders: harvest activations, train dictionaries, measure them."""

from __future__ import annotations

from shared.spec.registry import check_files
from shared.spec.variants import trained_per

PRELOAD = ("numpy", "torch", "transformers.models.mistral.modeling_mistral")

check_files(trained_per("model"), __name__, __path__, "variants")
# A variant that is trained per edge is a stage of its own.
check_files(trained_per("edge"), __name__, __path__)
