"""The chunked output layer against transformers' own loss and a float64 reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from shared.lm import loss as lm_loss
from shared.lm.load import load_model
from shared.lm.loss import evaluate, linear_cross_entropy, next_token_loss
from tests.support.language_models import SHAPES, VOCABULARY, model_artifact, shaped_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_model(model_artifact(tmp_path_factory.mktemp("lm"))[0], torch.device("cpu"))


@pytest.fixture(name="tokens_BT")
def make_tokens() -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, VOCABULARY, (6, 16)))


def reference(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor) -> list[Tensor]:
    """Loss and gradients by torch, in float64."""
    hidden = hidden_ND.detach().double().requires_grad_()
    weight = weight_VD.detach().double().requires_grad_()
    loss = F.cross_entropy(hidden @ weight.T, target_N)
    loss.backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    return [loss.detach(), hidden.grad, weight.grad]


def ours(hidden_ND: Tensor, weight_VD: Tensor, target_N: Tensor) -> list[Tensor]:
    hidden = hidden_ND.detach().clone().requires_grad_()
    weight = weight_VD.detach().clone().requires_grad_()
    loss = linear_cross_entropy(hidden, weight, target_N)
    loss.backward()
    assert hidden.grad is not None
    assert weight.grad is not None
    return [loss.detach(), hidden.grad, weight.grad]


def example(count: int, scale: float, width: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    return (
        torch.randn(count, width, generator=draw) * scale,
        torch.randn(VOCABULARY, width, generator=draw),
        torch.randint(0, VOCABULARY, (count,), generator=draw),
    )


def worst(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((found.double() - expected).abs().max() / expected.abs().max())


def distance(found: Tensor, expected: Tensor) -> float:
    """Length of the difference relative to the length of the truth."""
    return float((found.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("count", [1, 31, 32, 33, 100])
def test_loss_and_gradients_equal_a_float64_reference_however_many_chunks(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lm_loss, "CHUNK", 32)
    data = example(count, 1.0)
    for found, expected in zip(ours(*data), reference(*data), strict=True):
        assert worst(found, expected) < 2e-6


def test_nearly_certain_predictions_keep_the_precision_of_their_gradient() -> None:
    hidden, weight, _ = example(50, 3.0)
    certain = (hidden @ weight.T).argmax(-1)
    for found, expected in zip(
        ours(hidden, weight, certain), reference(hidden, weight, certain), strict=True
    ):
        assert worst(found, expected) < 1e-5


def test_bfloat16_gradients_are_as_near_to_the_truth_as_those_of_autocast() -> None:
    hidden, weight, target = example(200, 0.5)
    expected = reference(hidden, weight, target)
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(hidden, weight, target)
        plain_hidden = hidden.clone().requires_grad_()
        plain_weight = weight.clone().requires_grad_()
        F.cross_entropy(F.linear(plain_hidden, plain_weight), target).backward()
    assert found[0].dtype == found[1].dtype == found[2].dtype == torch.float32
    assert abs(float(found[0] - expected[0])) < 2e-3
    assert plain_hidden.grad is not None
    assert plain_weight.grad is not None
    assert distance(found[1], expected[1]) < 1.3 * distance(plain_hidden.grad, expected[1])
    assert distance(found[2], expected[2]) < 1.3 * distance(plain_weight.grad, expected[2])


def test_a_bfloat16_loss_is_unbiased() -> None:
    data = example(4000, 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(*data)[0]
    assert abs(float(found - reference(*data)[0])) < 3e-4


def test_a_scaled_loss_scales_its_gradients() -> None:
    hidden, weight, target = example(10, 1.0)
    inputs = [hidden.clone().requires_grad_(), weight.clone().requires_grad_()]
    (linear_cross_entropy(inputs[0], inputs[1], target) * 3).backward()
    _, grad_hidden, grad_weight = ours(hidden, weight, target)
    torch.testing.assert_close(inputs[0].grad, grad_hidden * 3)
    torch.testing.assert_close(inputs[1].grad, grad_weight * 3)


def test_an_impossible_token_gives_a_finite_loss_and_gradient() -> None:
    hidden, weight, target = example(4, 1.0)
    loss, grad_hidden, _ = ours(hidden * 1000, weight, target)
    assert 80 < float(loss) < 90
    assert bool(grad_hidden.isfinite().all())


def test_the_loss_of_a_model_equals_transformers_loss_and_so_do_all_gradients(
    model: Any, tokens_BT: Tensor
) -> None:
    model.zero_grad()
    expected = model(input_ids=tokens_BT, labels=tokens_BT).loss
    expected.backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    found = next_token_loss(model, tokens_BT)
    found.backward()
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-4, atol=1e-7)
    model.zero_grad()


def test_tied_embeddings_get_the_gradients_of_both_their_uses(
    tmp_path: Path, tokens_BT: Tensor
) -> None:
    path, _ = model_artifact(tmp_path, tied_embeddings=True)
    tied = load_model(path, torch.device("cpu"))
    tied(input_ids=tokens_BT, labels=tokens_BT).loss.backward()
    expected = tied.model.embed_tokens.weight.grad.clone()
    tied.zero_grad()
    next_token_loss(tied, tokens_BT).backward()
    torch.testing.assert_close(tied.lm_head.weight.grad, expected, rtol=1e-4, atol=1e-7)


def test_no_tensor_as_large_as_all_logits_exists(
    monkeypatch: pytest.MonkeyPatch, model: Any
) -> None:
    monkeypatch.setattr(lm_loss, "CHUNK", 64)
    seen = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
            nonlocal seen
            result = function(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                seen = max(seen, result.numel())
            return result

    tokens_BT = torch.randint(0, VOCABULARY, (40, 16))
    with Watch():
        next_token_loss(model, tokens_BT).backward()
    model.zero_grad()
    assert 64 * VOCABULARY // 2 < seen < 40 * 15 * VOCABULARY // 4


@torch.no_grad()
def test_evaluation_equals_a_float64_reference(model: Any, tokens_BT: Tensor) -> None:
    for place in range(1, 16, 2):  # some tokens are what the model would say
        tokens_BT[:3, place] = model(input_ids=tokens_BT[:3, :place]).logits[:, -1].argmax(-1)
    logits = model(input_ids=tokens_BT).logits[:, :-1].double().flatten(0, 1)
    target = tokens_BT[:, 1:].flatten()
    found = evaluate(model, tokens_BT.numpy().astype(np.uint16), batch=4)
    assert found.loss == pytest.approx(float(F.cross_entropy(logits, target)), rel=1e-6)
    assert found.accuracy == float((logits.argmax(-1) == target).double().mean()) >= 24 / 90
    assert found.tokens == 90


def test_evaluation_says_how_far_it_is_and_what_is_raised_ends_it(
    model: Any, tokens_BT: Tensor
) -> None:
    seen: list[int] = []
    evaluate(model, tokens_BT, batch=4, on_batch=seen.append)
    assert seen == [4, 6]

    def stop(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        evaluate(model, tokens_BT, batch=4, on_batch=stop)


@pytest.mark.parametrize("shape", [(0, 16), (3, 1)])
def test_nothing_to_predict_is_an_error(model: Any, shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no token to predict"):
        evaluate(model, np.zeros(shape, np.uint16))


def test_an_output_layer_with_a_bias_is_refused() -> None:
    class Odd:
        def get_output_embeddings(self) -> torch.nn.Linear:
            return torch.nn.Linear(2, 3)

    with pytest.raises(ValueError, match="output layer of Odd"):
        lm_loss.output_weight(Odd())


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_and_its_gradients_are_those_of_transformers_for_every_shape(
    shape: str, tokens_BT: Tensor
) -> None:
    model, same = shaped_model(shape), shaped_model(shape)
    loss = next_token_loss(model, tokens_BT)
    expected = same(input_ids=tokens_BT, labels=tokens_BT, use_cache=False).loss
    torch.testing.assert_close(loss.detach(), expected.detach(), rtol=1e-5, atol=0)
    loss.backward()
    expected.backward()
    gradients = {name: weight.grad for name, weight in same.named_parameters()}
    for name, weight in model.named_parameters():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-3, atol=1e-5)
    assert evaluate(model, tokens_BT).loss == pytest.approx(expected.item(), rel=1e-5)
