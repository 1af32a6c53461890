"""Codes and artifacts for the analyzer's tests: planted features on one token stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.analyzer.codes.codes import Codes, CodesWriter
from tests.support.stages import run_stage

Artifact = tuple[Path, dict[str, Any]]


def codes_of(dense: npt.ArrayLike) -> Codes:
    """Codes of a dense [tokens, features] matrix."""
    array = np.asarray(dense)
    tokens, features = np.nonzero(array)
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(array, axis=1))])
    return Codes(starts, features.astype(np.int32), array[tokens, features], array.shape[1])


def dense_of(codes: Codes) -> npt.NDArray[Any]:
    """The dense [tokens, features] matrix of codes."""
    return np.asarray(codes.matrix().toarray())


def firing(
    rng: np.random.Generator, tokens: int, features: int, density: float
) -> npt.NDArray[np.float32]:
    """Independent features: exponential magnitudes, each fires on a share of the tokens."""
    fires = rng.random((tokens, features)) < density
    values = rng.exponential(1.0, (tokens, features)) + 0.05
    return np.where(fires, values, 0).astype(np.float32)


def encode_artifact(
    codes: Codes,
    directory: Path,
    documents_T: npt.ArrayLike | None = None,
    corpora: Sequence[int] | None = None,
) -> Artifact:
    """An encode artifact that holds the codes; one corpus of documents of 20 tokens by default."""
    scratch = directory / "scratch"
    scratch.mkdir(parents=True)
    writer = CodesWriter(scratch)
    writer.append(
        np.diff(codes.starts_T), codes.features_Z.astype(np.int32), codes.values_Z.astype("f4")
    )
    writer.finish(directory)
    numbers_T = np.arange(codes.tokens) // 20 if documents_T is None else np.asarray(documents_T)
    np.save(directory / "documents.npy", numbers_T.astype(np.int32))
    return directory, {
        "tokens": codes.tokens,
        "features": codes.width,
        "corpora": list(corpora or [codes.tokens]),
        "documents": int(numbers_T[-1]) + 1 if codes.tokens else 0,
    }


def match_artifact(
    parent: Artifact,
    child: Artifact,
    directory: Path,
    inputs: Mapping[str, Artifact] | None = None,
    **parameters: Any,
) -> Artifact:
    """The artifact that the match stage makes of two encode artifacts and further inputs."""
    from services.analyzer.match.stage import run

    defaults = {"threshold": 0.8, "min_firings": 10}
    given = {"parent": parent, "child": child, **(inputs or {})}
    return run_stage(run, defaults | parameters, given, directory)


def tokens_artifact(
    directory: Path,
    tokens_BT: npt.ArrayLike,
    labels: Mapping[str, npt.ArrayLike] | None = None,
) -> Artifact:
    """A tokens artifact whose validation split holds the blocks, with label masks by name."""
    directory.mkdir(parents=True)
    blocks = np.asarray(tokens_BT, np.uint16)
    bits = np.zeros(blocks.shape, np.uint32)
    for number, mask in enumerate((labels or {}).values()):
        bits |= np.asarray(mask, np.uint32) << np.uint32(number)
    np.save(directory / "validation.npy", blocks)
    np.save(directory / "validation-labels.npy", bits)
    return directory, {"labels": list(labels or {}), "validation_tokens": blocks.size}


def tokenizer_artifact(directory: Path, words: Sequence[str]) -> Artifact:
    """A byte-level tokenizer.json whose token ids are the places of the words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    directory.mkdir(parents=True)
    stand_in = pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelled = ["".join(part for part, _ in stand_in.pre_tokenize_str(word)) for word in words]
    vocabulary = {word: number for number, word in enumerate(spelled)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory, {"vocab_size": len(words), "end_of_text": 0}
