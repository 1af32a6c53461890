"""The hand-written gradients of every variant, beside autograd in float64.

N: vectors, D: width, F: features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from services.sae.sparse.select import DENSE
from services.sae.training.auxiliary import add_auxiliary
from services.sae.variants import make_variant
from services.sae.variants.base import Pass
from services.sae.variants.matryoshka import prefixes_of
from services.sae.weights import Weights
from tests.support.dictionaries import dictionary_parameters, random_weights

N, D, F = 40, 12, 64
K = 5
Leaves = dict[str, Tensor]
SPARSE = 1.0


def batch(n: int = N, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, D, generator=generator, dtype=torch.float64)


def weights(variant: str, bias: float = -0.5) -> Weights:
    """Weights in float64 in which no two tensors are related."""
    plain = random_weights(F, D, bias=bias)
    generator = torch.Generator().manual_seed(9)
    extra: dict[str, Tensor] = {}
    if variant == "jumprelu":
        extra["log_threshold_F"] = torch.randn(F, generator=generator) * 0.3 - 1
    if variant == "gated":
        extra["gate_bias_F"] = torch.randn(F, generator=generator) * 0.2 + bias
        extra["log_gain_F"] = torch.randn(F, generator=generator) * 0.3
    decoder_FD = plain.decoder_FD * torch.linspace(0.5, 2, F)[:, None]  # nothing assumes norm 1
    named = {**plain.named(), "decoder_FD": decoder_FD, **extra}
    return Weights(**{name: tensor.double() for name, tensor in named.items()})


def squared(x_hat_ND: Tensor, x_ND: Tensor) -> Tensor:
    return (x_hat_ND - x_ND).square().mean(1).mean()


def pre_of(w: Leaves, x_ND: Tensor) -> Tensor:
    return (x_ND - w["decoder_bias_D"]) @ w["encoder_FD"].T + w["encoder_bias_F"]


def decoded(w: Leaves, f_NF: Tensor) -> Tensor:
    return f_NF @ w["decoder_FD"] + w["decoder_bias_D"]


def relu_loss(w: Leaves, x_ND: Tensor, l1: float) -> Tensor:
    f_NF = pre_of(w, x_ND).relu()
    return squared(decoded(w, f_NF), x_ND) + l1 * f_NF.sum(1).mean()


def penalised_loss(w: Leaves, x_ND: Tensor, l1: float) -> Tensor:
    f_NF = pre_of(w, x_ND).relu()
    return squared(decoded(w, f_NF), x_ND) + l1 * (f_NF * w["decoder_FD"].norm(dim=1)).sum(1).mean()


def topk_loss(w: Leaves, x_ND: Tensor, k: float) -> Tensor:
    f_NF = pre_of(w, x_ND).relu()
    least_N1 = f_NF.sort(1, descending=True).values[:, int(k) - 1 : int(k)]
    return squared(decoded(w, f_NF * (f_NF >= least_N1)), x_ND)


def batch_codes(w: Leaves, x_ND: Tensor, k: float) -> Tensor:
    f_NF = pre_of(w, x_ND).relu()
    least = f_NF.flatten().sort(descending=True).values[int(k) * len(x_ND) - 1]
    return f_NF * (f_NF >= least)


def batchtopk_loss(w: Leaves, x_ND: Tensor, k: float) -> Tensor:
    return squared(decoded(w, batch_codes(w, x_ND, k)), x_ND)


def matryoshka_loss(w: Leaves, x_ND: Tensor, k: float) -> Tensor:
    f_NF = batch_codes(w, x_ND, k)
    losses = []
    for prefix in (4, 8, 16, 32, 64):
        head_NF = f_NF * (torch.arange(F) < prefix)
        losses.append(squared(decoded(w, head_NF), x_ND))
    return torch.stack(losses).mean()


class Jump(torch.autograd.Function):
    """pre where pre > theta, with the pseudo-derivative of the paper for theta."""

    bandwidth = 0.4

    @staticmethod
    def forward(ctx: Any, pre_NF: Tensor, theta_F: Tensor) -> Tensor:
        ctx.save_for_backward(pre_NF, theta_F)
        return pre_NF * (pre_NF > theta_F)

    @staticmethod
    def backward(ctx: Any, g_NF: Tensor) -> tuple[Tensor, Tensor]:
        pre_NF, theta_F = ctx.saved_tensors
        kernel_NF = ((pre_NF - theta_F) / Jump.bandwidth).abs() < 0.5
        return g_NF * (pre_NF > theta_F), (-theta_F / Jump.bandwidth * kernel_NF * g_NF).sum(0)


class Step(torch.autograd.Function):
    """1 where pre > theta, likewise."""

    @staticmethod
    def forward(ctx: Any, pre_NF: Tensor, theta_F: Tensor) -> Tensor:
        ctx.save_for_backward(pre_NF, theta_F)
        return (pre_NF > theta_F).to(pre_NF.dtype)

    @staticmethod
    def backward(ctx: Any, g_NF: Tensor) -> tuple[None, Tensor]:
        pre_NF, theta_F = ctx.saved_tensors
        kernel_NF = ((pre_NF - theta_F) / Jump.bandwidth).abs() < 0.5
        return None, (-1 / Jump.bandwidth * kernel_NF * g_NF).sum(0)


def jumprelu_loss(w: Leaves, x_ND: Tensor, weight: float) -> Tensor:
    pre_NF, theta_F = pre_of(w, x_ND), w["log_threshold_F"].exp()
    # Entries at or below zero take no part: far below every threshold they are in no kernel.
    pre_NF = torch.where(pre_NF > 0, pre_NF, -100.0)
    l0 = Step.apply(pre_NF, theta_F).sum(1).mean()
    return squared(decoded(w, Jump.apply(pre_NF, theta_F)), x_ND) + weight * l0


def gated_loss(w: Leaves, x_ND: Tensor, l1: float) -> Tensor:
    u_NF = (x_ND - w["decoder_bias_D"]) @ w["encoder_FD"].T
    gate_NF = u_NF + w["gate_bias_F"]
    f_NF = (gate_NF > 0) * (w["log_gain_F"].exp() * u_NF + w["encoder_bias_F"]).relu()
    frozen = {name: tensor.detach() for name, tensor in w.items()}
    auxiliary = squared(decoded(frozen, gate_NF.relu()), x_ND)
    return squared(decoded(w, f_NF), x_ND) + l1 * gate_NF.relu().sum(1).mean() + auxiliary


LOSSES: dict[str, tuple[Callable[[Leaves, Tensor, float], Tensor], dict[str, Any], float]] = {
    "relu": (relu_loss, {}, 0.03),
    "penalised": (penalised_loss, {"variant": "relu", "decoder_norm": "penalised"}, 0.03),
    "topk": (topk_loss, {"variant": "topk", "k": K}, K),
    "batchtopk": (batchtopk_loss, {"variant": "batchtopk", "k": K}, K),
    "matryoshka": (matryoshka_loss, {"variant": "matryoshka", "k": K}, K),
    "jumprelu": (jumprelu_loss, {"variant": "jumprelu", "bandwidth": Jump.bandwidth}, 0.03),
    "gated": (gated_loss, {"variant": "gated"}, 0.03),
}


def differentiate(
    loss: Callable[[Leaves, Tensor, float], Tensor], w: Weights, x_ND: Tensor, sparsity: float
) -> tuple[float, Leaves]:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in w.named().items()}
    value = loss(leaves, x_ND, sparsity)
    found = torch.autograd.grad(value, list(leaves.values()))
    return float(value.detach()), dict(zip(leaves, found, strict=True))


def run(name: str, w: Weights, x_ND: Tensor, way: float) -> Pass:
    _, changes, sparsity = LOSSES[name]
    variant = make_variant(dictionary_parameters(features=F, **changes), sparse_up_to=way)
    return variant.run(w, x_ND, sparsity)


def variant_of(name: str) -> str:
    return str(LOSSES[name][1].get("variant", "relu"))


@pytest.mark.parametrize("way", [DENSE, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_gradients_equal_those_of_autograd(name: str, way: float) -> None:
    loss, _, sparsity = LOSSES[name]
    w, x_ND = weights(variant_of(name)), batch()
    got = run(name, w, x_ND, way)
    expected, gradients = differentiate(loss, w, x_ND, sparsity)
    coefficient = 0.0 if variant_of(name) in ("topk", "batchtopk", "matryoshka") else sparsity
    assert float(got.loss(coefficient)) == pytest.approx(expected, rel=1e-10)
    assert set(got.gradients.named()) == set(gradients)
    for field, gradient in gradients.items():
        assert gradient.abs().max() > 1e-6, field  # there is something to compare
        torch.testing.assert_close(
            got.gradients.named()[field], gradient, rtol=1e-9, atol=1e-13, msg=field
        )


@pytest.mark.parametrize("name", LOSSES)
def test_both_ways_find_the_same_entries(name: str) -> None:
    w, x_ND = weights(variant_of(name), bias=-0.8), batch(200)
    dense, thin = run(name, w, x_ND, DENSE), run(name, w, x_ND, SPARSE)
    assert int(dense.active) == int(thin.active) > 0
    assert torch.equal(dense.fired_F, thin.fired_F)
    torch.testing.assert_close(dense.penalty, thin.penalty)
    torch.testing.assert_close(dense.error_ND, thin.error_ND)


@pytest.mark.parametrize("name", LOSSES)
def test_a_silent_feature_gets_exactly_no_gradient(name: str) -> None:
    w, x_ND = weights(variant_of(name)), batch()
    for tensor in (w.encoder_bias_F, w.gate_bias_F):
        if tensor is not None:
            tensor[:10] = -100.0
    got = run(name, w, x_ND, SPARSE)
    for field, gradient in got.gradients.named().items():
        if field != "decoder_bias_D":
            assert not gradient[:10].any(), field


@pytest.mark.parametrize("way", [DENSE, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_in_which_nothing_fires_is_handled(name: str, way: float) -> None:
    w, x_ND = weights(variant_of(name), bias=-100.0), batch()
    got = run(name, w, x_ND, way)
    assert int(got.active) == 0
    assert not got.fired_F.any()
    torch.testing.assert_close(got.error_ND, w.decoder_bias_D - x_ND)
    assert not got.gradients.encoder_FD.any()
    assert not got.gradients.decoder_FD.any()


def auxiliary_reference(
    w: Weights, x_ND: Tensor, dead_X: Tensor, most: int, coefficient: float
) -> tuple[Tensor, list[Tensor]]:
    """AuxK as Gao et al. word it, for one choice of dead features."""
    leaves = {name: tensor.clone() for name, tensor in w.named().items()}
    residual_ND = x_ND - decoded(leaves, topk_codes(leaves, x_ND))
    rows = [w.encoder_FD[dead_X], w.encoder_bias_F[dead_X], w.decoder_FD[dead_X]]
    encoder_XD, bias_X, decoder_XD = (row.clone().requires_grad_() for row in rows)
    z_NX = ((x_ND - w.decoder_bias_D) @ encoder_XD.T + bias_X).relu()
    least_N1 = z_NX.sort(1, descending=True).values[:, most - 1 : most]
    e_hat_ND = (z_NX * (z_NX >= least_N1)) @ decoder_XD
    loss = coefficient * (e_hat_ND - residual_ND).square().sum() / residual_ND.square().sum()
    return loss.detach(), list(torch.autograd.grad(loss, [encoder_XD, bias_X, decoder_XD]))


def topk_codes(w: Leaves, x_ND: Tensor) -> Tensor:
    f_NF = pre_of(w, x_ND).relu()
    return f_NF * (f_NF >= f_NF.sort(1, descending=True).values[:, K - 1 : K])


@pytest.mark.parametrize("way", [DENSE, SPARSE], ids=["dense", "sparse"])
def test_the_auxiliary_loss_equals_autograd_and_reaches_only_dead_features(way: float) -> None:
    w, x_ND = weights("topk", bias=0.0), batch()
    dead_X = torch.arange(0, F, 4)
    w.encoder_FD[dead_X] *= 0.01  # positive half of the time, but never among the k largest
    w.encoder_bias_F[dead_X] *= 0.01
    dead_F = torch.zeros(F, dtype=torch.bool)
    dead_F[dead_X] = True
    got = run("topk", w, x_ND, way)
    assert not got.fired_F[dead_X].any()
    before = got.gradients.map(torch.clone)
    loss = add_auxiliary(got, w, dead_F, 1 / 32, way)
    expected, (encoder_XD, bias_X, decoder_XD) = auxiliary_reference(
        w, x_ND, dead_X, D // 2, 1 / 32
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(got.gradients.encoder_FD[dead_X], encoder_XD)
    torch.testing.assert_close(got.gradients.encoder_bias_F[dead_X], bias_X)
    torch.testing.assert_close(got.gradients.decoder_FD[dead_X], decoder_XD)
    for after, plain in zip(got.gradients.per_feature(), before.per_feature(), strict=True):
        assert torch.equal(after[~dead_F], plain[~dead_F])
    assert torch.equal(got.gradients.decoder_bias_D, before.decoder_bias_D)


def test_a_dead_feature_that_answers_to_nothing_is_lifted_before_it_is_taught() -> None:
    w, x_ND = weights("topk"), batch(128)
    w.encoder_bias_F[7] = -50.0
    dead_F = torch.zeros(F, dtype=torch.bool)
    dead_F[7] = True
    add_auxiliary(run("topk", w, x_ND, SPARSE), w, dead_F, 1 / 32)
    pre_N = (x_ND - w.decoder_bias_D) @ w.encoder_FD[7] + w.encoder_bias_F[7]
    assert int((pre_N > 1e-9).sum()) == 3  # 128 / 32, and the last one exactly at zero


def test_prefixes_are_shares_of_the_features_unless_they_are_given() -> None:
    parameters = dictionary_parameters(variant="matryoshka")
    assert prefixes_of(parameters, 64) == (4, 8, 16, 32, 64)
    given = dictionary_parameters(variant="matryoshka", prefixes=(3, 10))
    assert prefixes_of(given, 10) == (3, 10)
    with pytest.raises(ValueError, match=r"prefixes: \[3, 10\] must ascend .* all 11 features"):
        prefixes_of(given, 11)


def test_a_matryoshka_of_one_prefix_is_batchtopk() -> None:
    w, x_ND = weights("matryoshka"), batch()
    whole = dictionary_parameters(features=F, variant="matryoshka", k=K, prefixes=(F,))
    nested = make_variant(whole).run(w, x_ND, K)
    plain = run("batchtopk", w, x_ND, SPARSE)
    for ours, theirs in zip(nested.gradients.tensors(), plain.gradients.tensors(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", LOSSES)
def test_the_export_computes_what_the_variant_computed(name: str) -> None:
    """Features up to the direction's norm, the reconstruction exactly."""
    _, changes, sparsity = LOSSES[name]
    w, x_ND = weights(variant_of(name)), batch(400)
    variant = make_variant(dictionary_parameters(features=F, **changes))
    reconstructed_ND = variant.run(w, x_ND, sparsity).error_ND + x_ND
    coder = variant.export(w)
    named = coder.weights.named()
    pre_NF = pre_of(named, x_ND)
    f_NF = pre_NF.relu()
    if variant.threshold_from_batches:
        f_NF = batch_codes(named, x_ND, K)
    elif coder.k is not None:
        f_NF = topk_codes(named, x_ND)
    elif coder.threshold_F is not None:
        f_NF = f_NF * (pre_NF > coder.threshold_F)
    torch.testing.assert_close(decoded(named, f_NF), reconstructed_ND)
