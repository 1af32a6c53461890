"""Read the sizes in a model's config.json and tokenizer.json, given as bytes. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared.resolve.resolved import ImportedModel
from shared.spec.models import Architecture

# The names that architectures give to each size; the first one present counts.
_NAMES = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "mlp": ("intermediate_size", "n_inner", "ffn_dim"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads",),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "context": ("max_position_embeddings", "n_positions"),
    "rope_theta": ("rope_theta",),
    "norm_eps": ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon"),
}
# Architectures that tie the embeddings when their configuration does not say.
_TIED = frozenset({"gpt2", "gpt_neo", "opt", "gemma", "gemma2", "bloom", "falcon"})


def read_config(data: bytes) -> ImportedModel | None:
    """The shape and the vocabulary size in a config.json.

    None when it describes something other than a decoder of these sizes; ValueError when it is not
    a JSON object.
    """
    config = _json_object(data)
    sizes = {field: _first(config, names) for field, names in _NAMES.items()}
    if sizes["rope_theta"] is None and isinstance(config.get("rope_parameters"), Mapping):
        sizes["rope_theta"] = config["rope_parameters"].get("rope_theta")
    if sizes["kv_heads"] is None:
        sizes["kv_heads"] = sizes["heads"]
    if sizes["mlp"] is None and isinstance(sizes["hidden"], int):
        sizes["mlp"] = 4 * sizes["hidden"]
    tied = config.get("tie_word_embeddings", config.get("model_type") in _TIED)
    values = {field: value for field, value in sizes.items() if value is not None}
    try:
        shape = Architecture.model_validate({**values, "tied_embeddings": tied})
        return ImportedModel(architecture=shape, vocab_size=config["vocab_size"])
    except (ValidationError, KeyError):
        return None


def vocabulary_size(data: bytes) -> int | None:
    """The number of tokens in a tokenizer.json, added tokens included.

    None for a kind of tokenizer without a list of tokens; ValueError when it is not a JSON object.
    """
    content = _json_object(data)
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, Mapping) else None
    if isinstance(vocabulary, list):
        highest = len(vocabulary) - 1
    elif isinstance(vocabulary, dict):
        highest = max(
            (token for token in vocabulary.values() if isinstance(token, int)), default=-1
        )
    else:
        return None
    added = content.get("added_tokens") or ()
    ids = [entry.get("id") for entry in added if isinstance(entry, Mapping)]
    return int(max([highest, *(number for number in ids if isinstance(number, int))])) + 1


def _first(config: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((config[name] for name in names if config.get(name) is not None), None)


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError("is not JSON") from error
    if not isinstance(content, dict):
        raise ValueError("is not a JSON object")
    return content
