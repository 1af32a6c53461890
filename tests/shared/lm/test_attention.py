"""Attention on the CPU: sdpa's numbers and gradients, whatever precision products have."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from shared.lm import attention, load
from shared.lm.load import load_model
from shared.lm.save import save_model
from tests.support.language_models import SHAPES, VOCABULARY, model_artifact, shaped_directory

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def fast_processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every processor takes this file's attention here, and the faster products."""
    monkeypatch.setattr(attention, "fast_float32", lambda: True)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_artifact(tmp_path_factory.mktemp("lm"))[0]


@pytest.fixture(name="tokens_BT")
def make_tokens() -> Tensor:
    return torch.randint(0, VOCABULARY, (3, 12), generator=torch.Generator().manual_seed(0))


def gradients(model: Any, tokens_BT: Tensor) -> dict[str, Tensor]:
    model(input_ids=tokens_BT, labels=tokens_BT).loss.backward()
    found = {name: weight.grad for name, weight in model.named_parameters()}
    assert None not in found.values()
    return found


def test_logits_and_gradients_are_those_of_sdpa(directory: Path, tokens_BT: Tensor) -> None:
    ours = load_model(directory, CPU)
    theirs = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="sdpa")
    assert ours.config._attn_implementation == attention.NAME
    with torch.no_grad():
        torch.testing.assert_close(
            ours(tokens_BT).logits, theirs(tokens_BT).logits, rtol=1e-5, atol=1e-6
        )
    expected = gradients(theirs, tokens_BT)
    for name, found in gradients(ours, tokens_BT).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-7)


def test_padding_masks_are_respected(directory: Path, tokens_BT: Tensor) -> None:
    ours = load_model(directory, CPU)
    theirs = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="sdpa")
    mask_BT = torch.ones_like(tokens_BT)
    mask_BT[0, :4] = 0
    with torch.no_grad():
        found = ours(tokens_BT, attention_mask=mask_BT).logits
        expected = theirs(tokens_BT, attention_mask=mask_BT).logits
        unmasked = ours(tokens_BT).logits
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found[0], unmasked[0], atol=1e-3)


def test_a_bfloat16_pass_attends_in_float32(directory: Path, tokens_BT: Tensor) -> None:
    model = load_model(directory, CPU)
    seen: list[torch.dtype] = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
            if function is torch.nn.functional.scaled_dot_product_attention:
                seen.append(args[0].dtype)
            return function(*args, **(kwargs or {}))

    with Watch(), torch.autocast("cpu", torch.bfloat16):
        output = model(tokens_BT)
    assert seen == [torch.float32] * 2
    assert output.logits.dtype == torch.bfloat16


def test_the_setting_of_products_comes_back_after_both_passes_and_after_an_error(
    directory: Path, tokens_BT: Tensor
) -> None:
    model = load_model(directory, CPU)
    gradients(model, tokens_BT)
    assert torch.get_float32_matmul_precision() == "medium"

    def fail() -> None:
        with attention._plain_products():
            assert torch.get_float32_matmul_precision() == "highest"
            raise InterruptedError

    with pytest.raises(InterruptedError):
        fail()
    assert torch.get_float32_matmul_precision() == "medium"


def test_a_saved_model_does_not_name_it(directory: Path, tmp_path: Path) -> None:
    save_model(load_model(directory, CPU), directory, tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "mistral"


def test_other_processors_keep_sdpa(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "fast_float32", lambda: False)
    assert load.load_model(directory, CPU).config._attn_implementation == "sdpa"


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_that_attends_by_sdpa_gets_the_same_numbers_and_gradients(
    shape: str, tokens_BT: Tensor, tmp_path: Path
) -> None:
    directory = shaped_directory(tmp_path, shape)
    ours = load_model(directory, CPU)
    theirs = AutoModelForCausalLM.from_pretrained(directory)
    if theirs.config._attn_implementation == "sdpa":
        assert ours.config._attn_implementation == attention.NAME
    else:  # some have no sdpa: they keep what they have
        assert ours.config._attn_implementation == theirs.config._attn_implementation
    with torch.no_grad():
        torch.testing.assert_close(
            ours(tokens_BT).logits, theirs(tokens_BT).logits, rtol=1e-4, atol=1e-4
        )
    expected = gradients(theirs, tokens_BT)
    for name, found in gradients(ours, tokens_BT).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=1e-5)
