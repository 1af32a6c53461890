"""A small family of planted features for the tests of explanations.

Two models on one token stream of two corpora. PLANTED names the parent's features: each fires on
its set of tokens, wherever they stand, with a strength that belongs to the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.planted import (
    Artifact,
    codes_of,
    encode_artifact,
    firing,
    match_artifact,
    tokenizer_artifact,
    tokens_artifact,
)

CONTEXT, BLOCKS = 32, 240
TOKENS = CONTEXT * BLOCKS
WORDS = ["<end>", " the", " a", " =", " ==", "\n", " if", " for", *[f" w{i}" for i in range(52)]]
# Tokens of each planted feature; the child has the first four, under other numbers.
PLANTED = [(3, 4), (5,), (6, 7), (10, 11, 12), (1, 2), (20, 21, 22, 23), (30,), (40, 41)]
COMMON = (1, 2)
PERSIST = 4
NOISE = 2  # features of the parent that fire by chance, after the planted ones
EVEN_ONLY, ODD_ONLY = 10, 11  # planted, but silent in the odd contexts; in the even ones
WIDTH = 12
SEED = 11
PARAMETERS: Mapping[str, Any] = {
    "method": "rule", "model": 0, "features": None, "min_firings": 10, "context": CONTEXT,
    "tokens": 10**6, "window": 16, "seed": SEED,
}  # fmt: skip


def tokens_of() -> Any:
    """The token ids of the stream [BLOCKS, CONTEXT]; ` the` and ` a` are common."""
    rng = np.random.default_rng(0)
    share = np.ones(len(WORDS))
    share[[1, 2]] = 6
    return rng.choice(len(WORDS), (BLOCKS, CONTEXT), p=share / share.sum())


def dense_parent(stream: Any) -> Any:
    """The parent's activations [TOKENS, WIDTH]."""
    rng = np.random.default_rng(1)
    tokens = stream.reshape(-1)
    dense = np.zeros((TOKENS, WIDTH), np.float32)
    for feature, fires_on in enumerate(PLANTED):
        for place, token in enumerate(fires_on):
            dense[tokens == token, feature] = 2 + place
    dense[:, : len(PLANTED)] *= rng.lognormal(0, 0.05, (TOKENS, len(PLANTED)))
    dense[:, len(PLANTED) : len(PLANTED) + NOISE] = firing(rng, TOKENS, NOISE, 0.03)
    odd = (np.arange(TOKENS) // CONTEXT) % 2 == 1
    dense[:, EVEN_ONLY] = (tokens == 50) & ~odd
    dense[:, ODD_ONLY] = (tokens == 51) & odd
    return dense


def dense_child(parent: Any) -> Any:
    """The child's: the parent's first PERSIST features in reverse order, and its own."""
    rng = np.random.default_rng(2)
    kept = parent[:, :PERSIST][:, ::-1] * rng.lognormal(0, 0.1, (TOKENS, PERSIST))
    # The closest there is to the parent's feature PERSIST: one that misses half of its firings.
    half = parent[:, PERSIST : PERSIST + 1] * (rng.random((TOKENS, 1)) < 0.5)
    return np.concatenate([kept, half, firing(rng, TOKENS, 3, 0.03)], axis=1).astype(np.float32)


def track_artifact(directory: Path, fates: Mapping[int, list[list[str]]]) -> Artifact:
    """The chains.parquet of a track stage: by model, the fates of each feature."""
    directory.mkdir(parents=True)
    rows = [
        {"model": model, "feature": feature, "fate": fate}
        for model, of_features in fates.items()
        for feature, fate in enumerate(of_features)
    ]
    schema = pa.schema(
        [("model", pa.int32()), ("feature", pa.int32()), ("fate", pa.list_(pa.string()))]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), directory / "chains.parquet")
    return directory, {}


def world(root: Path) -> dict[str, Artifact]:
    """All that the stages read: tokens, tokenizer, codes of parent and child, match, track."""
    stream = tokens_of()
    parent = dense_parent(stream)
    found = {
        "tokens/0": tokens_artifact(root / "first", stream[: BLOCKS // 2]),
        "tokens/1": tokens_artifact(root / "second", stream[BLOCKS // 2 :]),
        "tokenizer": tokenizer_artifact(root / "tokenizer", WORDS),
        "parent": encode_artifact(codes_of(parent), root / "parent"),
        "child": encode_artifact(codes_of(dense_child(parent)), root / "child"),
        "track": track_artifact(
            root / "track",
            {0: [["universal"]] * PERSIST + [[]] * (WIDTH - PERSIST), 1: [[]] * (PERSIST + 4)},
        ),
    }
    found["match"] = match_artifact(found["parent"], found["child"], root / "match")
    return found


def explain_inputs(built: Mapping[str, Artifact], codes: str = "parent") -> dict[str, Artifact]:
    """Inputs of the stage `explain` of one of the two models."""
    shared = ("tokens/0", "tokens/1", "tokenizer", "track")
    found = {name: built[name] for name in shared} | {"codes": built[codes]}
    return found | ({"match/0": built["match"]} if codes == "parent" else {})


def rows_of(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    """The rows of one of the artifact's tables."""
    rows: list[dict[str, Any]] = pq.read_table(artifact[0] / f"{name}.parquet").to_pylist()
    return rows
