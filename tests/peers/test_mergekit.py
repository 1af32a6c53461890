"""Our SLERP beside mergekit's, on the same tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.merger.methods.base import in_memory
from services.merger.methods.slerp import combine
from tests.peers.support import ask

SHAPES = {"vector": (40,), "matrix": (64, 48), "wide": (7, 501)}


def draw(name: str, seed: int) -> Tensor:
    return torch.randn(*SHAPES[name], generator=torch.Generator().manual_seed(seed))


def pair(name: str) -> tuple[Tensor, Tensor]:
    return draw(name, 11), draw(name, 12) + 0.5


@pytest.mark.parametrize("t", [0.25, 0.58])
def test_mergekit_gives_the_same_tensors(t: float, tmp_path: Path) -> None:
    file = tmp_path / "pairs.safetensors"
    tensors = {}
    for name in SHAPES:
        tensors[f"zero/{name}"], tensors[f"one/{name}"] = pair(name)
    save_file(tensors, file)
    ask("mk", "mergekit_worker.py", tensors=file, t=t)
    theirs = load_file(tmp_path / "theirs.safetensors")
    for name in SHAPES:
        found = in_memory(combine, pair(name), t=t)[0]
        torch.testing.assert_close(found, theirs[name], rtol=1e-5, atol=1e-6)
