"""Trainer: corpora, tokenizers, packed tokens, language models and their evaluation."""

from __future__ import annotations

from shared.spec.builtins import BUILTINS
from shared.spec.registry import check_files

PRELOAD = (
    "numpy",
    "pandas",  # pyarrow imports it when it makes a table
    "pyarrow.compute",
    "pyarrow.parquet",
    "tokenizers",
    "torch",
    "transformers.models.mistral.modeling_mistral",
)

check_files(BUILTINS, __name__, __path__, "corpus/builtin")
