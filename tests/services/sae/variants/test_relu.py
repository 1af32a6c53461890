"""A ReLU dictionary and the sparse products that carry it (gradients: test_variant_gradients).

N: vectors, D: width, F: features.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from services.sae.sparse import kernels as sparse
from services.sae.sparse.entries import DenseEntries, SparseEntries
from services.sae.sparse.select import DENSE, positive
from services.sae.variants.base import Pass
from services.sae.variants.relu import Relu
from services.sae.weights import Weights
from tests.support.dictionaries import dictionary_parameters, random_weights

N, D, F = 40, 12, 50


def batch(n: int = N, seed: int = 5) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def run(weights: Weights, x_ND: Tensor, l1: float, way: str) -> Pass:
    parameters = dictionary_parameters()
    return Relu(parameters, 1.0 if way == "sparse" else DENSE).run(weights, x_ND, l1)


def test_the_way_is_chosen_by_the_share_of_active_entries() -> None:
    def taken(bias: float) -> type:
        w = random_weights(F, D, bias=bias)
        pre_NF = (batch() - w.decoder_bias_D) @ w.encoder_FD.T + w.encoder_bias_F
        return type(positive(pre_NF))

    assert taken(-3.0) is SparseEntries
    assert taken(0.0) is DenseEntries


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
    torch.testing.assert_close(here.penalty, there.penalty, rtol=1e-4, atol=0)


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
