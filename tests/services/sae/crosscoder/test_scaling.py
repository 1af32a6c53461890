"""Latent scaling beside its definition, and the kinds of features on toy worlds.

N: vectors, D: width of one model, E: both widths, F: features, G: true features of a toy world.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from services.sae.crosscoder.loop import CrosscoderState, Trainer
from services.sae.crosscoder.scaling import Features, Scaling
from services.sae.crosscoder.weights import CrosscoderWeights, start_weights
from tests.support.crosscoders import ToyPair, crosscoder_parameters, random_crosscoder

PARENT, CHILD = 0, 1


def scaled(weights: CrosscoderWeights, x_NE: Tensor, threshold: float, batch: int = 64) -> Scaling:
    scaling = Scaling(weights, threshold)
    for part_NE in x_NE.split(batch):
        scaling.add(part_NE)
    return scaling


@pytest.mark.parametrize("threshold", [0.0, 0.9, 2.5])
def test_betas_are_the_least_squares_factors_of_their_definition(threshold: float) -> None:
    """2.5 leaves few entries, which takes the sparse way; at 0 half are active."""
    width, features, n = 10, 30, 200
    weights = random_crosscoder(features, width, seed=2)
    x_NE = torch.randn(n, 2 * width, generator=torch.Generator().manual_seed(3))
    got = scaled(weights, x_NE, threshold).features()

    w = [tensor.double() for tensor in weights.tensors()]
    norms_2F = w[2].view(features, 2, width).norm(dim=2).T
    f_NF = torch.relu((x_NE - w[3]) @ w[0].T + w[1])
    f_NF = f_NF * (f_NF * norms_2F.sum(0) > threshold)
    for j in range(features):
        own = int(norms_2F[CHILD, j] >= norms_2F[PARENT, j])
        direction_D = w[2][j].view(2, width)[own]
        column = (f_NF[:, j, None] * direction_D).flatten().numpy()
        assert got.density_F[j] == pytest.approx(float((f_NF[:, j] > 0).double().mean()))
        for model in (PARENT, CHILD):
            part = slice(model * width, (model + 1) * width)
            without_NF = f_NF.clone()
            without_NF[:, j] = 0
            error_ND = x_NE[:, part].double() - w[3][part] - without_NF @ w[2][:, part]
            made_ND = f_NF @ w[2][:, part]
            for target_ND, beta_2F in (
                (error_ND, got.error_2F),
                (made_ND, got.reconstruction_2F),
            ):
                if got.density_F[j] == 0:
                    assert np.isnan(beta_2F[model, j])
                    continue
                expected = np.linalg.lstsq(
                    column[:, None], target_ND.flatten().numpy(), rcond=None
                )[0][0]
                assert beta_2F[model, j] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert bool((got.density_F == 0).any()) == (threshold == 2.5)


def world_of_axes(n: int = 2000) -> tuple[CrosscoderWeights, Tensor]:
    """True features on the axes of two models of width 8, and a crosscoder with known faults.

    Axes 0, 3, 4 and 5 are in both models, 1 in the child, 2 in the parent.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = (n, 8)
    codes_ND = (torch.rand(sizes, generator=generator) < 0.1) * (
        1 + torch.rand(sizes, generator=generator)
    )
    in_parent_D = torch.tensor([1.0, 0, 1, 1, 1, 1, 0, 0])
    in_child_D = torch.tensor([1.0, 1, 0, 1, 1, 1, 0, 0])
    axes_DD = torch.eye(8)
    nowhere_D = torch.zeros(8)
    rows = [
        (axes_DD[0], axes_DD[0]),  # shared
        (nowhere_D, axes_DD[1]),  # of the child
        (axes_DD[2], nowhere_D),  # of the parent
        (nowhere_D, axes_DD[3]),  # shrunk: the parent's part is missing
        (nowhere_D, axes_DD[4]),  # decoupled: one feature, taken apart
        (axes_DD[4], nowhere_D),
        (axes_DD[5], nowhere_D),  # shrunk: the child's part is missing
        (axes_DD[6], nowhere_D),  # silent
    ]
    decoder_FE = torch.stack([torch.cat(row) / torch.cat(row).norm() for row in rows])
    weights = CrosscoderWeights(
        encoder_FE=decoder_FE.clone(),
        encoder_bias_F=torch.zeros(8),
        decoder_FE=decoder_FE,
        decoder_bias_E=torch.zeros(16),
    )
    return weights, torch.cat([codes_ND * in_parent_D, codes_ND * in_child_D], dim=1)


def test_shrinkage_and_decoupling_do_not_pass_for_features_of_one_model() -> None:
    weights, x_NE = world_of_axes()
    got = scaled(weights, x_NE, 0.0).features()
    assert got.kinds() == [
        "shared",
        "child",
        "parent",
        "false_child",
        "false_child",
        "false_parent",
        "false_parent",
        "dead",
    ]
    nu_error_F, nu_reconstruction_F = got.nu(got.error_2F), got.nu(got.reconstruction_2F)
    np.testing.assert_allclose(nu_error_F[[1, 2, 4, 5]], 0, atol=0.02)
    np.testing.assert_allclose(nu_error_F[[0, 3, 6]], 1, atol=0.02)
    np.testing.assert_allclose(nu_reconstruction_F[[1, 2, 3, 6]], 0, atol=0.02)
    np.testing.assert_allclose(nu_reconstruction_F[[0, 4, 5]], 1, atol=0.02)
    assert got.relative_norm[:3].tolist() == [0.5, 1, 0]


def test_relative_norms_alone_would_have_called_them_features_of_one_model() -> None:
    weights, x_NE = world_of_axes()
    got = scaled(weights, x_NE, 0.0).features()
    blind = Features(
        got.density_F, got.norms_2F, got.own_F, got.error_2F * [[0], [1]], got.reconstruction_2F
    )
    assert blind.kinds()[3] == "child"
    assert got.kinds()[3] == "false_child"


def test_what_latent_scaling_leaves_undefined_is_null_and_not_confirmed() -> None:
    """A feature whose own beta is not positive explains nothing, whatever its ratio says."""
    weights, x_NE = world_of_axes()
    got = scaled(weights, x_NE, 0.0).features()
    error_2F = got.error_2F.copy()
    error_2F[CHILD, 1] = -0.5
    odd = Features(got.density_F, got.norms_2F, got.own_F, error_2F, got.reconstruction_2F)
    assert odd.kinds()[1] == "false_child"
    row = odd.table().to_pylist()[1]
    assert row["nu_error"] is None
    assert row["beta_error_child"] == -0.5
    silent = odd.table().to_pylist()[7]
    assert (silent["kind"], silent["density"]) == ("dead", 0)
    assert silent["beta_error_parent"] is None
    assert silent["nu_reconstruction"] is None


def test_explained_variance_is_0_for_the_mean_and_1_for_a_perfect_reconstruction() -> None:
    weights, x_NE = world_of_axes()
    x_NE[:, [3, 5, 8 + 3, 8 + 5]] = 0  # what the crosscoder lacks on one side
    perfect = scaled(weights, x_NE, 0.0)
    assert perfect.explained_variance() == pytest.approx((1, 1), abs=1e-6)
    silent = CrosscoderWeights(
        weights.encoder_FE, torch.full((8,), -100.0), weights.decoder_FE, x_NE.mean(0)
    )
    assert scaled(silent, x_NE, 0.0).explained_variance() == pytest.approx((0, 0), abs=1e-6)
    assert scaled(silent, x_NE[:1], 0.0).explained_variance() == (None, None)


def train(world: ToyPair, features: int, steps: int) -> CrosscoderState:
    parameters = crosscoder_parameters(
        features=features, k=3, learning_rate=5e-3, warmup_steps=20, dead_after_steps=100
    )
    generator = torch.Generator().manual_seed(1)
    state = CrosscoderState.start(start_weights(features, world.draw(4096), generator))
    trainer = Trainer(state, parameters, steps, batch=512)
    for _ in range(steps):
        trainer.step(world.draw(512))
    return state


def f1(true: list[str], found: list[str], kind: str) -> float:
    hits = sum(a == b == kind for a, b in zip(true, found, strict=True))
    return 2 * hits / (true.count(kind) + found.count(kind))


def test_a_trained_crosscoder_tells_shared_features_from_those_of_one_model() -> None:
    """128 features, 64 dimensions in each model, shared ones in other directions in the child."""
    world = ToyPair(seed=0)
    state = train(world, features=256, steps=1000)
    scaling = scaled(state.weights, world.draw(20_000), state.threshold, batch=2000)
    got = scaling.features()
    unit_GE = world.directions_GE / world.directions_GE.norm(dim=1, keepdim=True)
    cosine_GF = (unit_GE @ state.weights.decoder_FE.T).numpy()
    cosine_GF[:, got.density_F == 0] = -1
    kinds = got.kinds()
    found = [kinds[feature] for feature in cosine_GF.argmax(1)]
    assert cosine_GF.max(1).mean() >= 0.97
    for kind in ("shared", "parent", "child"):
        assert f1(world.kinds, found, kind) >= 0.9, kind
    # Nothing else passes for a feature of one model either.
    for kind in ("parent", "child", "false_parent", "false_child"):
        assert kinds.count(kind) == found.count(kind), kind
    assert min(x or 0 for x in scaling.explained_variance()) > 0.98
    assert got.counts()["l0"] == pytest.approx(3, abs=0.4)


def test_counts_say_how_many_features_there_are_of_each_kind() -> None:
    weights, x_NE = world_of_axes()
    got = scaled(weights, x_NE, 0.0).features()
    counts = got.counts()
    assert counts["kinds"] == {
        "shared": 1,
        "parent": 1,
        "child": 1,
        "false_parent": 2,
        "false_child": 2,
        "dead": 1,
    }
    assert counts["dead_share"] == 1 / 8
    histogram = counts["relative_norm"]
    assert isinstance(histogram, dict)
    assert sum(histogram["counts"]) == 7
    assert histogram["counts"][0] == histogram["counts"][-1] == 3
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
