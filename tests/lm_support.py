"""Small real language models, tokenizers and packed corpora for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from services.trainer import initialise
from tests.support import run_stage

VOCABULARY = 300
BLOCK = 16
ARCHITECTURE = {
    "hidden": 32, "mlp": 48, "heads": 4, "kv_heads": 2, "layers": 2, "context": 64,
}  # fmt: skip
Artifact = tuple[Path, dict[str, Any]]


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
