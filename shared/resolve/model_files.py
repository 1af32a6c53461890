"""What small files of a model directory say: config.json and tokenizer.json. Pure: bytes in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared.resolve.resolved import ImportedModel
from shared.spec.models import Architecture

# The same size under the names that architectures have given it; the first that is there counts.
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
# Architectures whose configuration ties the embeddings when it does not say.
_TIED = frozenset({"gpt2", "gpt_neo", "opt", "gemma", "gemma2", "bloom", "falcon"})


def read_config(data: bytes) -> ImportedModel | None:
    """Shape and vocabulary in a config.json.

    None when it describes something else than a decoder of these sizes; ValueError when it is not
    a JSON object.
    """
    config = _json_object(data)
    found = {field: _first(config, names) for field, names in _NAMES.items()}
    if found["rope_theta"] is None and isinstance(config.get("rope_parameters"), Mapping):
        found["rope_theta"] = config["rope_parameters"].get("rope_theta")
    if found["kv_heads"] is None:
        found["kv_heads"] = found["heads"]
    if found["mlp"] is None and isinstance(found["hidden"], int):
        found["mlp"] = 4 * found["hidden"]
    tied = config.get("tie_word_embeddings", config.get("model_type") in _TIED)
    values = {field: value for field, value in found.items() if value is not None}
    try:
        shape = Architecture.model_validate({**values, "tied_embeddings": tied})
        return ImportedModel(architecture=shape, vocab_size=config["vocab_size"])
    except (ValidationError, KeyError):
        return None


def vocabulary_size(data: bytes) -> int | None:
    """The number of tokens in a tokenizer.json, added ones included.

    None when it is of a kind without a list of tokens; ValueError when it is not a JSON object.
    """
    content = _json_object(data)
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, Mapping) else None
    if isinstance(vocabulary, list):
        highest = len(vocabulary) - 1
    elif isinstance(vocabulary, dict):
        highest = max((one for one in vocabulary.values() if isinstance(one, int)), default=-1)
    else:
        return None
    added = content.get("added_tokens") or ()
    ids = [one.get("id") for one in added if isinstance(one, Mapping)]
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
