"""Dictionaries go to SAELens and come from it, and encode the same on both sides.

N: tokens, D: width, F: features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.lm.dictionary import Dictionary, load_dictionary
from tests.peers.support import ask

N, D, F = 300, 16, 40
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
HOOKS = {
    "mlp_post": "blocks.3.mlp.hook_post",
    "mlp_out": "blocks.3.hook_mlp_out",
    "attn_out": "blocks.3.hook_attn_out",
    "resid_pre": "blocks.3.hook_resid_pre",
    "resid_post": "blocks.3.hook_resid_post",
}
# architecture, options of sae-lens' configuration class, the variant that it becomes here
THEIRS: dict[str, tuple[str, dict[str, Any], str]] = {
    "standard": ("standard", {}, "relu"),
    "standard without b_dec": ("standard", {"apply_b_dec_to_input": False}, "relu"),
    "standard in bfloat16": ("standard", {"dtype": "bfloat16"}, "relu"),
    "standard in float16": ("standard", {"dtype": "float16"}, "relu"),
    "gated": ("gated", {}, "jumprelu"),
    "gated without b_dec": ("gated", {"apply_b_dec_to_input": False}, "jumprelu"),
    "jumprelu": ("jumprelu", {}, "jumprelu"),
    "topk": ("topk", {"k": 7}, "topk"),
    "topk by decoder norm": ("topk", {"k": 7, "rescale_acts_by_decoder_norm": True}, "topk"),
    "trained standard": ("training-standard", {}, "relu"),
    "trained gated": ("training-gated", {}, "jumprelu"),
    "trained jumprelu": ("training-jumprelu", {}, "jumprelu"),
    "trained topk": ("training-topk", {"k": 5}, "topk"),
    "trained batchtopk": ("training-batchtopk", {"k": 5}, "jumprelu"),
    "trained matryoshka": (
        "training-matryoshka_batchtopk", {"k": 5, "matryoshka_widths": [10, 20, 40]}, "jumprelu"
    ),
}  # fmt: skip


def inputs() -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(0))


def ours(kind: str, hook: str) -> Dictionary:
    draw = torch.Generator().manual_seed(len(hook))
    return Dictionary(
        encoder_DF=0.3 * torch.randn(D, F, generator=draw),
        encoder_bias_F=0.4 * torch.randn(F, generator=draw),
        decoder_FD=0.3 * torch.randn(F, D, generator=draw),
        decoder_bias_D=0.4 * torch.randn(D, generator=draw),
        hook=hook,
        layer=3,
        threshold_F=torch.randn(F, generator=draw) if kind == "jumprelu" else None,
        k=6 if kind == "topk" else None,
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Our dictionaries of every kind and hook, each with SAELens' answers beside it."""
    directory = tmp_path_factory.mktemp("exported")
    save_file({"x": inputs()}, directory / "inputs.safetensors")
    names = []
    for kind in ("relu", "jumprelu", "topk"):
        for hook in HOOKS:
            (directory / f"{kind}-{hook}").mkdir()
            ours(kind, hook).save(directory / f"{kind}-{hook}")
            names.append(directory / f"{kind}-{hook}")
    answer = ask("sae", "saelens_worker.py", encode=names, inputs=directory / "inputs.safetensors")
    return directory, {path.name: hook for path, hook in zip(names, answer["hooks"], strict=True)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dictionaries that SAELens made and saved, each with SAELens' answers beside it."""
    directory = tmp_path_factory.mktemp("saved")
    save_file({"x": inputs()}, directory / "inputs.safetensors")
    wanted = [
        {"directory": directory / name, "architecture": kind, "options": options, "seed": seed}
        for seed, (name, (kind, options, _)) in enumerate(THEIRS.items())
    ]
    ask("sae", "saelens_worker.py", make=wanted, inputs=directory / "inputs.safetensors")
    return directory


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("kind", ["relu", "jumprelu", "topk"])
def test_saelens_encodes_with_our_export_as_we_do(
    exported: tuple[Path, dict[str, str]], kind: str, hook: str
) -> None:
    directory, hooks = exported
    theirs = load_file(directory / f"{kind}-{hook}" / "theirs.safetensors")
    dictionary = ours(kind, hook)
    f_NF = dictionary.encode(inputs())
    assert 0 < float((f_NF > 0).float().mean()) < 0.9
    torch.testing.assert_close(theirs["features"], f_NF, **CLOSE)
    torch.testing.assert_close(theirs["reconstructions"], dictionary.decode(f_NF), **CLOSE)
    assert hooks[f"{kind}-{hook}"] == HOOKS[hook]


@pytest.mark.parametrize("name", THEIRS)
def test_a_dictionary_that_saelens_saved_encodes_here_as_there(saved: Path, name: str) -> None:
    theirs = load_file(saved / name / "theirs.safetensors")
    dictionary = load_dictionary(saved / name)
    f_NF = dictionary.encode(inputs())
    assert float((f_NF > 0).float().mean()) > 0
    torch.testing.assert_close(f_NF, theirs["features"], **CLOSE)
    torch.testing.assert_close(dictionary.decode(f_NF), theirs["reconstructions"], **CLOSE)
    assert (dictionary.hook, dictionary.layer) == ("resid_post", 3)
    assert dictionary.variant == THEIRS[name][2]


@pytest.mark.parametrize("name", THEIRS)
def test_a_dictionary_from_saelens_is_the_same_after_we_saved_it_again(
    saved: Path, name: str, tmp_path: Path
) -> None:
    first = load_dictionary(saved / name)
    first.save(tmp_path)
    assert torch.equal(load_dictionary(tmp_path).encode(inputs()), first.encode(inputs()))
