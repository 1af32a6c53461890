"""Write a language model as a Hugging Face directory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

# Everything a tokenizer artifact may hold; only tokenizer.json is always there.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
WHOLE = "1000TB"  # no shards: readers of the artifact rely on a single model.safetensors


def save_model(model: Any, tokenizer: Path, output: Path) -> None:
    """Write config, generation config, weights (safetensors) and the tokenizer of a directory."""
    model.save_pretrained(output, max_shard_size=WHOLE)
    copy_tokenizer(tokenizer, output)


def copy_tokenizer(source: Path, output: Path) -> None:
    """Copy the tokenizer files that `source` has."""
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, output / name)


def describe(model: Any) -> dict[str, Any]:
    """The description of a model for a manifest: its number of weights (tied ones once), its sizes.

    A size that the architecture does not have is None.
    """
    config = model.config
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocab_size": int(config.vocab_size),
        "model_type": str(config.model_type),
        "hidden": getattr(config, "hidden_size", None),
        "mlp": getattr(config, "intermediate_size", None),
        "heads": getattr(config, "num_attention_heads", None),
        "kv_heads": getattr(config, "num_key_value_heads", None),
        "layers": getattr(config, "num_hidden_layers", None),
        "context": getattr(config, "max_position_embeddings", None),
        "tied_embeddings": bool(getattr(config, "tie_word_embeddings", False)),
    }
