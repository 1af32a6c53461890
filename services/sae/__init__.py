"""Sparse auto-encoders: harvest activations, train dictionaries, measure them."""

from __future__ import annotations

from shared.spec.registry import check_files
from shared.spec.variants import trained_per

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

check_files(trained_per("model"), __name__, __path__, "variants")
# A variant that is trained per edge is a stage of its own.
check_files(trained_per("edge"), __name__, __path__)
