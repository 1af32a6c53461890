"""Merger: models between models, and what happens along the way."""

STAGES = {
    "merge": "services.merger.merge:run",
    "sweep": "services.merger.sweep:run",
}
PRELOAD = (
    "numpy",
    "tokenizers",
    "torch",
    "transformers.models.mistral.modeling_mistral",
)
