"""Whether two models can be merged: same vocabulary, architecture, tensors and shapes."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from services.merger.tensors import FLOATS, Layout, layouts
from shared.stages.stage import StageError

# Entries of config.json that change what a weight means though its shape stays the same.
MEANING = (
    "model_type",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rope_parameters",
    "rope_theta",
    "tie_word_embeddings",
)


def check_parents(at_zero: Path, at_one: Path) -> dict[str, Layout]:
    """The layouts of the tensors that both models have; StageError names the first difference."""
    _check_vocabularies(at_zero, at_one)
    _check_configurations(at_zero, at_one)
    zero, one = layouts(at_zero), layouts(at_one)
    for name in sorted(zero.keys() ^ one.keys()):
        which = "at_zero" if name in zero else "at_one"
        raise StageError(f"the models cannot be merged: only {which} has the tensor {name}")
    for name, layout in zero.items():
        other = one[name]
        if layout.shape != other.shape:
            raise StageError(
                f"the models cannot be merged: {name} has the shape {list(layout.shape)} at_zero "
                f"and {list(other.shape)} at_one"
            )
        if layout.dtype != other.dtype or layout.dtype not in FLOATS:
            raise StageError(
                f"the models cannot be merged: {name} is {layout.dtype} at_zero and {other.dtype} "
                f"at_one, where both must be the same of {', '.join(FLOATS)}"
            )
    return zero


def _check_vocabularies(at_zero: Path, at_one: Path) -> None:
    paths = (at_zero / "tokenizer.json", at_one / "tokenizer.json")
    if paths[0].read_bytes() == paths[1].read_bytes():
        return
    zero, one = (Tokenizer.from_file(str(path)).get_vocab(with_added_tokens=True) for path in paths)
    if zero == one:
        return
    token = min(zero.items() ^ one.items(), key=lambda item: (item[1], item[0]))[0]
    raise StageError(
        f"the models cannot be merged: token {token!r} has id {zero.get(token, 'none')} at_zero "
        f"and {one.get(token, 'none')} at_one"
    )


def _check_configurations(at_zero: Path, at_one: Path) -> None:
    zero, one = (json.loads((path / "config.json").read_text()) for path in (at_zero, at_one))
    for field in MEANING:
        if zero.get(field) != one.get(field):
            raise StageError(
                f"the models cannot be merged: {field} is {zero.get(field)} at_zero and "
                f"{one.get(field)} at_one"
            )
