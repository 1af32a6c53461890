"""Stage `initialise`: a Mistral-style model with random weights, where pre-training starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, MistralConfig, MistralForCausalLM

from shared.lm.save import describe, save_model
from shared.stages.stage import Stage, StageError
from shared.stages.trainer import Architecture, InitialiseParameters


def run(stage: Stage) -> None:
    """Write the model directory; results as shared.lm.save.describe."""
    parameters = InitialiseParameters.model_validate(stage.parameters)
    tokenizer = stage.input("tokenizer")
    config = configuration(parameters.architecture, tokenizer.path, tokenizer.results)
    model = initialise(config, parameters.seed)
    save_model(model, tokenizer.path, stage.output)
    stage.results.update(describe(model))


def configuration(
    architecture: Architecture, tokenizer: Path, results: Mapping[str, Any]
) -> MistralConfig:
    """The transformers configuration of an architecture with that tokenizer.

    Raises StageError when the sizes do not fit together.
    """
    _check(architecture)
    end = int(results["end_of_text"])
    return MistralConfig(
        vocab_size=int(results["vocab_size"]),
        hidden_size=architecture.hidden,
        intermediate_size=architecture.mlp,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.kv_heads,
        max_position_embeddings=architecture.context,
        rope_parameters={"rope_type": "default", "rope_theta": architecture.rope_theta},
        rms_norm_eps=architecture.norm_eps,
        tie_word_embeddings=architecture.tied_embeddings,
        sliding_window=None,
        bos_token_id=_beginning(tokenizer, end),
        eos_token_id=end,
        # No padding token: transformers would freeze its embedding, and it is end-of-text here.
        pad_token_id=None,
    )


def _check(architecture: Architecture) -> None:
    sizes = architecture.model_dump(
        include={"hidden", "mlp", "heads", "kv_heads", "layers", "context"}
    )
    for name, size in sizes.items():
        if size < 1:
            raise StageError(f"architecture.{name} is {size}: it must be at least 1")
    hidden, heads, kv_heads = architecture.hidden, architecture.heads, architecture.kv_heads
    if hidden % heads or (hidden // heads) % 2:
        raise StageError(
            f"architecture.hidden is {hidden}: it must be an even multiple of heads ({heads}), "
            "because rotary embeddings rotate pairs of values"
        )
    if heads % kv_heads:
        raise StageError(f"architecture.heads is {heads}: it must be a multiple of kv_heads")


def _beginning(tokenizer: Path, end: int) -> int:
    """Id of the tokenizer's beginning-of-text token, or of end-of-text where it has none."""
    settings = tokenizer / "tokenizer_config.json"
    token = json.loads(settings.read_text()).get("bos_token") if settings.exists() else None
    content = token.get("content") if isinstance(token, dict) else token
    added = json.loads((tokenizer / "tokenizer.json").read_text()).get("added_tokens", [])
    return next((int(entry["id"]) for entry in added if entry["content"] == content), end)


def initialise(config: MistralConfig, seed: int) -> MistralForCausalLM:
    """A model with transformers' initialisation, drawn on the CPU from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MistralForCausalLM(config)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.eos_token_id,
    )
    return model.eval()
