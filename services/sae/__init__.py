"""Sparse auto-encoders: harvest activations, train dictionaries, measure them."""

STAGES = {
    "harvest": "services.sae.harvest:run",
    "dictionary": "services.sae.dictionary:run",
    "evaluate_dictionary": "services.sae.evaluate:run",
}

PRELOAD = ("numpy", "torch", "transformers.models.mistral.modeling_mistral")
