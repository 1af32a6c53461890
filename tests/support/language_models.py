"""Small real language models, tokenizers and packed corpora for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM

from services.trainer import initialise
from tests.support.stages import run_stage

VOCABULARY = 300
BLOCK = 16
ARCHITECTURE = {
    "hidden": 32, "mlp": 48, "heads": 4, "kv_heads": 2, "layers": 2, "context": 64,
}  # fmt: skip
Artifact = tuple[Path, dict[str, Any]]
MLP = 48  # width inside the MLP of every shape below
_COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": MLP, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "initializer_range": 0.2,
    "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip
_GROUPED = {**_COMMON, "num_key_value_heads": 2, "pad_token_id": None}
# Model type and configuration of a tiny model of every shape whose hook points are known.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", _GROUPED),
    "llama-tied": ("llama", {**_GROUPED, "tie_word_embeddings": True}),
    "mistral": ("mistral", _GROUPED),
    "qwen2": ("qwen2", _GROUPED),
    "gemma": ("gemma", {**_GROUPED, "head_dim": 8}),
    "gemma2": ("gemma2", {**_GROUPED, "head_dim": 8, "final_logit_softcapping": None}),
    "glm4": ("glm4", {**_GROUPED, "head_dim": 8}),
    "olmo2": ("olmo2", _GROUPED),
    "starcoder2": ("starcoder2", _GROUPED),
    "gpt2": ("gpt2", {
        "vocab_size": VOCABULARY, "n_embd": 32, "n_inner": MLP, "n_layer": 2, "n_head": 4,
        "n_positions": 64, "initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 0,
    }),
    "gpt-neox": ("gpt_neox", {**_COMMON, "use_parallel_residual": True}),
    "gpt-neox-serial": ("gpt_neox", {**_COMMON, "use_parallel_residual": False}),
    "gpt-neo": ("gpt_neo", {
        **_COMMON, "num_layers": 2, "attention_types": [[["global", "local"], 1]],
        "num_heads": 4,
    }),
}  # fmt: skip
SHAPES["gpt-neo"][1].pop("num_hidden_layers")
SHAPES["gpt-neo"][1].pop("num_attention_heads")


def shaped_model(shape: str, seed: int = 0) -> Any:
    """A random model of that shape in eval mode; norm weights and biases are random as well."""
    kind, settings = SHAPES[shape]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
        for weight in model.parameters():
            if weight.ndim < 2:
                weight.data.add_(torch.randn_like(weight), alpha=0.3)
    return model.eval()


def shaped_directory(directory: Path, shape: str, seed: int = 0) -> Path:
    """The directory of `shaped_model`, with a tokenizer."""
    tokenizer = tokenizer_artifact(directory / "tokenizer")[0]
    shaped_model(shape, seed).save_pretrained(directory / shape)
    (directory / shape / "tokenizer.json").write_bytes((tokenizer / "tokenizer.json").read_bytes())
    return directory / shape


def tokenizer_artifact(directory: Path, swap: bool = False) -> Artifact:
    """A byte-level tokenizer of 300 tokens, end-of-text first; `swap` exchanges two ids."""
    directory.mkdir(parents=True)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ["<|endoftext|>", *alphabet, *[f"filler{i}" for i in range(VOCABULARY - 257)]]
    if swap:
        words[-1], words[-2] = words[-2], words[-1]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "model_max_length": 64,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return directory, {"vocab_size": VOCABULARY, "end_of_text": 0}


def model_artifact(directory: Path, seed: int = 0, **architecture: Any) -> Artifact:
    """What the initialise stage makes of the tiny architecture and tokenizer."""
    tokenizer = tokenizer_artifact(directory / "tokenizer")
    parameters = {"architecture": {**ARCHITECTURE, **architecture}, "seed": seed}
    return run_stage(initialise.run, parameters, {"tokenizer": tokenizer}, directory / "model")


def tokens_artifact(
    directory: Path, blocks: int = 40, seed: int = 0, validation: int = 12
) -> Artifact:
    """Blocks that a model can learn: each token is mostly the one before plus a constant."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for name, count in (("train", blocks), ("validation", validation)):
        steps = np.where(rng.random((count, BLOCK)) < 0.9, 1 + seed, rng.integers(0, 9))
        tokens = (np.cumsum(steps, 1) + rng.integers(0, VOCABULARY, (count, 1))) % VOCABULARY
        np.save(directory / f"{name}.npy", tokens.astype(np.uint16))
    return directory, {"vocab_size": VOCABULARY, "end_of_text": 0}


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
