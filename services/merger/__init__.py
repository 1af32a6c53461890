"""Merger: models between models, and what happens along the way."""

PRELOAD = (
    "numpy",
    "tokenizers",
    "torch",
    "transformers.models.mistral.modeling_mistral",
)
