"""Trainer: corpora, tokenizers, packed tokens, language models and their evaluation."""

PRELOAD = (
    "numpy",
    "pandas",  # pyarrow imports it when it makes a table
    "pyarrow.compute",
    "pyarrow.parquet",
    "tokenizers",
    "torch",
    "transformers.models.mistral.modeling_mistral",
)
