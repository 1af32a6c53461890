"""Sparse auto-encoders: harvest activations, train dictionaries, measure them."""

STAGES = {
    "harvest": "services.sae.harvest:run",
    "dictionary": "services.sae.dictionary:run",
    "dictionary_set": "services.sae.dictionary_set:run",
    "dictionary_member": "services.sae.dictionary_set:run_member",
    "import_dictionary": "services.sae.import_dictionary:run",
    "crosscoder": "services.sae.crosscoder.stage:run",
    "evaluate_dictionary": "services.sae.evaluate_dictionary:run",
}

PRELOAD = ("numpy", "torch", "transformers.models.mistral.modeling_mistral")
