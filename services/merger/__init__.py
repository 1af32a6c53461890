"""Merger: models between models, and what happens along the way."""

from __future__ import annotations

from shared.spec.merges import METHODS
from shared.spec.registry import check_files

PRELOAD = (
    "numpy",
    "tokenizers",
    "torch",
    "transformers.models.mistral.modeling_mistral",
)

check_files(METHODS, __name__, __path__, "methods")
