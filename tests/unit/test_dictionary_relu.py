"""The hand-written gradients of a ReLU dictionary, beside autograd and float64.

N: vectors, D: width, F: features.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from services.sae import sparse
from services.sae.relu import Pass, Relu
from services.sae.weights import Weights
from tests.dictionary_support import random_weights

N, D, F = 40, 12, 50


def batch(n: int = N, seed: int = 5) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def reference_loss(weights: list[Tensor], x_ND: Tensor, l1: float) -> Tensor:
    """The definition, token by token, as one would write it on a blackboard."""
    encoder_FD, encoder_bias_F, decoder_FD, decoder_bias_D = weights
    losses = []
    for x_D in x_ND:
        f_F = torch.relu(encoder_FD @ (x_D - decoder_bias_D) + encoder_bias_F)
        x_hat_D = f_F @ decoder_FD + decoder_bias_D
        losses.append((x_hat_D - x_D).square().mean() + l1 * f_F.sum())
    return torch.stack(losses).mean()


def reference_gradients(weights: Weights, x_ND: Tensor, l1: float) -> tuple[Tensor, list[Tensor]]:
    leaves = [tensor.double().requires_grad_() for tensor in weights.tensors()]
    loss = reference_loss(leaves, x_ND.double(), l1)
    gradients = list(torch.autograd.grad(loss, leaves))
    return loss.detach(), gradients


def run(weights: Weights, x_ND: Tensor, l1: float, way: str) -> Pass:
    return Relu(weights, len(x_ND), sparse_up_to=1.0 if way == "sparse" else -1.0).run(x_ND, l1)


@pytest.mark.parametrize("way", ["dense", "sparse"])
@pytest.mark.parametrize("bias", [-0.8, 0.0])
def test_gradients_equal_those_of_autograd(way: str, bias: float) -> None:
    weights, x_ND = random_weights(F, D, bias=bias), batch()
    got = run(weights, x_ND, 0.03, way)
    loss, gradients = reference_gradients(weights, x_ND, 0.03)
    assert float(got.loss(0.03)) == pytest.approx(float(loss), rel=1e-5)
    for name, expected in zip(weights.named(), gradients, strict=True):
        torch.testing.assert_close(
            got.gradients.named()[name].double(), expected, rtol=1e-4, atol=1e-7, msg=name
        )


def test_the_sparse_way_gives_what_the_dense_way_gives() -> None:
    weights, x_ND = random_weights(F, D, bias=-0.7), batch(300)
    dense, thin = run(weights, x_ND, 0.01, "dense"), run(weights, x_ND, 0.01, "sparse")
    assert torch.equal(dense.fired_F, thin.fired_F)
    assert int(dense.active) == int(thin.active) > 0
    torch.testing.assert_close(dense.error_ND, thin.error_ND)
    torch.testing.assert_close(dense.activation_sum, thin.activation_sum)
    for ours, theirs in zip(dense.gradients.tensors(), thin.gradients.tensors(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_a_batch_in_which_nothing_fires_is_handled_sparsely() -> None:
    weights, x_ND = random_weights(F, D, bias=-100.0), batch()
    got = run(weights, x_ND, 0.01, "sparse")
    assert int(got.active) == 0
    assert not got.fired_F.any()
    assert not got.gradients.encoder_FD.any()
    assert not got.gradients.decoder_FD.any()
    torch.testing.assert_close(got.error_ND, weights.decoder_bias_D - x_ND)


def test_the_way_is_chosen_by_the_share_of_active_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    for way in ("_sparse", "_dense"):
        original = getattr(Relu, way)
        monkeypatch.setattr(
            Relu, way, lambda *a, way=way, original=original: (taken.append(way), original(*a))[1]
        )
    Relu(random_weights(F, D, bias=-3.0), N).run(batch(), 0.01)
    Relu(random_weights(F, D, bias=0.0), N).run(batch(), 0.01)
    assert taken == ["_sparse", "_dense"]


@pytest.mark.parametrize("way", ["dense", "sparse"])
def test_the_encoder_subtracts_the_decoder_bias(way: str) -> None:
    """Moving the activations and b_dec together must change no feature and no error."""
    weights, x_ND = random_weights(F, D), batch()
    shift_D = torch.arange(D, dtype=torch.float32)
    moved = Weights(
        weights.encoder_FD,
        weights.encoder_bias_F,
        weights.decoder_FD,
        weights.decoder_bias_D + shift_D,
    )
    here = run(weights, x_ND, 0.01, way)
    there = run(moved, x_ND + shift_D, 0.01, way)
    torch.testing.assert_close(here.centred_ND, there.centred_ND, atol=1e-5, rtol=0)
    torch.testing.assert_close(here.error_ND, there.error_ND, atol=1e-4, rtol=0)
    torch.testing.assert_close(here.activation_sum, there.activation_sum, rtol=1e-4, atol=0)


def test_l1_is_summed_over_features_and_averaged_over_tokens() -> None:
    """Twice the tokens: the same penalty. Every feature twice: twice the penalty."""
    weights, x_ND = random_weights(F, D), batch()

    def penalty(weights: Weights, x_ND: Tensor) -> float:
        got = run(weights, x_ND, 1.0, "dense")
        return float(got.loss(1.0) - got.squared_error)

    once = penalty(weights, x_ND)
    twice = Weights(
        weights.encoder_FD.repeat(2, 1),
        weights.encoder_bias_F.repeat(2),
        weights.decoder_FD.repeat(2, 1),
        weights.decoder_bias_D,
    )
    f_NF = torch.relu(
        (x_ND - weights.decoder_bias_D) @ weights.encoder_FD.T + weights.encoder_bias_F
    )
    assert once == pytest.approx(float(f_NF.sum(1).mean()), rel=1e-5)
    assert penalty(weights, x_ND.repeat(2, 1)) == pytest.approx(once, rel=1e-5)
    assert penalty(twice, x_ND) == pytest.approx(2 * once, rel=1e-5)


def test_active_entries_are_listed_by_token_and_by_feature() -> None:
    f_NF = torch.tensor([[0.0, 2.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0], [1.0, 5.0, 0.0, 0.0]])
    active = sparse.find_active(f_NF, f_NF > 0)
    assert active.value_K.tolist() == [2, 3, 1, 5]
    assert active.feature_K.tolist() == [1, 3, 0, 1]
    assert active.first_N1.tolist() == [0, 2, 2, 4]
    assert active.token_by_feature_K.tolist() == [2, 0, 2, 0]
    assert active.first_F1.tolist() == [0, 1, 3, 3, 4]
    assert active.value_K[active.by_feature_K].tolist() == [1, 2, 5, 3]


def test_sparse_products_equal_the_dense_ones_they_name() -> None:
    rng = np.random.default_rng(0)
    f_NF = torch.from_numpy(rng.normal(size=(30, 20)).astype(np.float32)).sub_(0.8).relu_()
    w_FD = torch.from_numpy(rng.normal(size=(20, 7)).astype(np.float32))
    g_ND = torch.from_numpy(rng.normal(size=(30, 7)).astype(np.float32))
    active = sparse.find_active(f_NF, f_NF > 0)
    torch.testing.assert_close(sparse.decode(active, w_FD), f_NF @ w_FD)
    torch.testing.assert_close(sparse.at_entries(active, g_ND, w_FD), (g_ND @ w_FD.T)[f_NF > 0])
    torch.testing.assert_close(sparse.weight_gradient(active, active.value_K, g_ND), f_NF.T @ g_ND)
    torch.testing.assert_close(sparse.feature_sums(active, active.value_K), f_NF.sum(0))
