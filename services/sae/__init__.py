"""Sparse auto-encoders: harvest activations, train dictionaries, measure them."""

PRELOAD = ("numpy", "torch", "transformers.models.mistral.modeling_mistral")
