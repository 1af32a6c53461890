"""Trainer: corpora, tokenizers, packed tokens, language models and their evaluation."""

from __future__ import annotations

from shared.spec.builtins import BUILTINS
from shared.spec.registry import check_files

STAGES = {
    "corpus": "services.trainer.corpus.stage:run",
    "tokenizer": "services.trainer.tokenizer:run",
    "tokens": "services.trainer.tokens:run",
    "initialise": "services.trainer.initialise:run",
    "import": "services.trainer.import_model:run",
    "train": "services.trainer.train.stage:run",
    "checkpoint": "services.trainer.checkpoint:run",
    "evaluate": "services.trainer.evaluate:run",
}
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
