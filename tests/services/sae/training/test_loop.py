"""The training step: constraints, their order, schedules, dead features, the start.

N: vectors, D: width, F: features, X: dead features.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from services.sae.start import (
    activation_scale,
    geometric_median,
    start_sparse,
)
from services.sae.start import (
    random_weights as starting_weights,
)
from services.sae.training.loop import (
    State,
    Trainer,
    learning_rate_at,
    project_out_parallel,
    renormalise,
    start_state,
)
from services.sae.training.revive import add_ghost_gradients, resample, resample_now
from services.sae.variants import DECLARED, check, make_variant
from services.sae.variants.base import Pass
from services.sae.variants.relu import Relu
from services.sae.weights import Weights, fold_scale, unfold_scale
from tests.support.dictionaries import ToyWorld, dictionary_parameters, random_weights

N, D, F = 32, 12, 40


def batch(seed: int = 3, n: int = N) -> Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def trainer(weights: Weights, steps: int = 100, **changes: object) -> Trainer:
    settings = {"features": F, "batch": N, "context": 1, "revive": "none"}
    return Trainer(State.start(weights), dictionary_parameters(**settings | changes), steps)


def run_relu(weights: Weights, x_ND: Tensor) -> Pass:
    return Relu(dictionary_parameters()).run(weights, x_ND, 0.01)


def row_norms(w_FD: Tensor) -> Tensor:
    return torch.linalg.vector_norm(w_FD, dim=1)


def test_every_decoder_direction_has_unit_norm_after_every_step() -> None:
    training = trainer(random_weights(F, D), learning_rate=0.05)
    for seed in range(5):
        training.step(batch(seed))
        norms_F = row_norms(training.state.weights.decoder_FD)
        torch.testing.assert_close(norms_F, torch.ones(F), atol=1e-6, rtol=0)


def test_decoder_rows_are_features_and_not_inputs() -> None:
    w_FD = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]])
    renormalise(w_FD)
    torch.testing.assert_close(w_FD, torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]))


def test_projection_leaves_no_gradient_along_a_feature_and_the_rest_untouched() -> None:
    w_FD = torch.tensor([[0.6, 0.8], [1.0, 0.0]])
    gradient_FD = torch.tensor([[1.0, 0.0], [2.0, 5.0]])
    project_out_parallel(gradient_FD, w_FD)
    torch.testing.assert_close(gradient_FD, torch.tensor([[0.64, -0.48], [0.0, 5.0]]))


def test_the_gradient_is_projected_before_the_optimiser_sees_it() -> None:
    """Adam's first moment after one step is 0.1 x the projected gradient at the old weights."""
    weights, x_ND = random_weights(F, D), batch()
    before = Weights(*(tensor.clone() for tensor in weights.tensors()))
    gradient_FD = run_relu(before, x_ND).gradients.decoder_FD.clone()
    along_F = (gradient_FD * before.decoder_FD).sum(1, keepdim=True)
    training = trainer(weights)
    training.step(x_ND)
    expected_FD = 0.1 * (gradient_FD - along_F * before.decoder_FD)
    torch.testing.assert_close(
        training.state.first_moment.decoder_FD, expected_FD, atol=1e-8, rtol=1e-3
    )
    assert float(along_F.abs().max()) > 1e-4  # there was something to project


def test_weights_are_renormalised_after_the_optimiser_and_not_before() -> None:
    """One step by hand with torch's own Adam, in the right order."""
    weights, x_ND = random_weights(F, D), batch()
    leaves = [torch.nn.Parameter(tensor.clone()) for tensor in weights.tensors()]
    optimiser = torch.optim.Adam(leaves, lr=0.01, betas=(0.9, 0.9999))
    gradients = run_relu(Weights(*(leaf.detach() for leaf in leaves)), x_ND).gradients
    project_out_parallel(gradients.decoder_FD, leaves[2].detach())
    for leaf, gradient in zip(leaves, gradients.tensors(), strict=True):
        leaf.grad = gradient
    optimiser.step()
    expected_FD = leaves[2].detach() / row_norms(leaves[2].detach())[:, None]
    training = trainer(weights, learning_rate=0.01)
    training.step(x_ND)
    torch.testing.assert_close(training.state.weights.decoder_FD, expected_FD)
    torch.testing.assert_close(training.state.weights.encoder_FD, leaves[0].detach())


def test_silence_is_counted_for_each_feature_on_its_own() -> None:
    weights = random_weights(F, D)
    weights.encoder_bias_F[:5] = -100.0  # these never fire
    training = trainer(weights, dead_after_steps=3, learning_rate=1e-6)
    for seed in range(4):
        assert not training.dead().any()
        training.step(batch(seed, N))
    assert training.state.silent_F[:5].tolist() == [4] * 5
    assert training.dead().tolist() == [True] * 5 + [False] * (F - 5)


def test_a_dead_feature_that_fires_is_alive_again() -> None:
    training = trainer(random_weights(F, D), dead_after_steps=3)
    training.state.silent_F.fill_(1000)
    fired_F = training.step(batch()).fired_F
    assert fired_F.any()
    assert torch.equal(training.dead(), ~fired_F)


def ghost_reference(weights: Weights, x_ND: Tensor, dead_X: Tensor) -> list[Tensor]:
    """The ghost loss as Anthropic's update of January 2024 words it, differentiated by torch."""
    encoder_XD = weights.encoder_FD[dead_X].double().requires_grad_()
    bias_X = weights.encoder_bias_F[dead_X].double().requires_grad_()
    decoder_XD = weights.decoder_FD[dead_X].double().requires_grad_()
    centred_ND = (x_ND - weights.decoder_bias_D).double()
    f_NF = torch.relu(centred_ND @ weights.encoder_FD.double().T + weights.encoder_bias_F)
    x_hat_ND = f_NF @ weights.decoder_FD.double() + weights.decoder_bias_D
    residual_ND = (x_ND - x_hat_ND).detach()
    output_ND = torch.exp(centred_ND @ encoder_XD.T + bias_X) @ decoder_XD
    half_N1 = 0.5 * residual_ND.norm(dim=1, keepdim=True)
    output_ND = output_ND * (half_N1 / output_ND.norm(dim=1, keepdim=True)).detach()
    ghost_loss = (output_ND - residual_ND).square().mean()
    main_loss = residual_ND.square().mean()
    loss = ghost_loss * (main_loss / ghost_loss).detach()
    return list(torch.autograd.grad(loss, [encoder_XD, bias_X, decoder_XD]))


def test_ghost_gradients_equal_autograd_and_reach_only_dead_features() -> None:
    weights, x_ND = random_weights(F, D), batch()
    dead_X = torch.tensor([2, 7, 30])
    weights.encoder_bias_F[dead_X] = -6.0
    dead_F = torch.zeros(F, dtype=torch.bool)
    dead_F[dead_X] = True
    got = run_relu(weights, x_ND)
    plain = Weights(*(tensor.clone() for tensor in got.gradients.tensors()))
    add_ghost_gradients(got, weights, dead_F)
    encoder_XD, bias_X, decoder_XD = ghost_reference(weights, x_ND, dead_X)
    gradients = got.gradients
    torch.testing.assert_close(gradients.encoder_FD[dead_X].double(), encoder_XD, rtol=1e-4, atol=0)
    torch.testing.assert_close(gradients.encoder_bias_F[dead_X].double(), bias_X, rtol=1e-4, atol=0)
    torch.testing.assert_close(gradients.decoder_FD[dead_X].double(), decoder_XD, rtol=1e-4, atol=0)
    for after, before in zip(gradients.tensors()[:3], plain.tensors()[:3], strict=True):
        assert torch.equal(after[~dead_F], before[~dead_F])
    assert torch.equal(gradients.decoder_bias_D, plain.decoder_bias_D)


def test_a_feature_that_fires_in_the_batch_gets_no_ghost_gradient() -> None:
    weights, x_ND = random_weights(F, D, bias=5.0), batch()
    got = run_relu(weights, x_ND)
    plain_FD = got.gradients.encoder_FD.clone()
    add_ghost_gradients(got, weights, torch.ones(F, dtype=torch.bool))
    assert got.fired_F.all()
    assert torch.equal(got.gradients.encoder_FD, plain_FD)


@pytest.mark.parametrize("variant", [name for name, one in DECLARED.items() if one.with_k])
def test_the_auxiliary_loss_brings_dead_features_back(variant: str) -> None:
    """Half of the features have sunk below zero for every vector."""

    def dead_share(how: str) -> float:
        world = ToyWorld(seed=0)
        parameters = dictionary_parameters(
            variant=variant, k=4, revive=how, features=128, batch=256, context=1,
            learning_rate=3e-3, dead_after_steps=20,
        )  # fmt: skip
        x_ND = world.draw(1024) * 5**0.5
        state = start_state(parameters, 128, x_ND, torch.Generator().manual_seed(1))
        state.weights.encoder_bias_F[::2] = -10.0
        training = Trainer(state, parameters, 200)
        for _ in range(200):
            training.step(world.draw(256) * 5**0.5)
        return float(training.dead().double().mean())

    assert dead_share("none") >= 0.4
    assert dead_share("aux") <= 0.1


def test_steering_is_frozen_at_the_end_and_answers_before() -> None:
    training = trainer(random_weights(F, D, bias=1.0), steps=20, l0=1.0, l1=None)
    found = []
    for seed in range(20):
        training.step(batch(seed))
        found.append(training.coefficient())
    assert found[0] < found[5] < found[17]  # more fire than asked for, so it grows
    assert found[17] == found[18] == found[19]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"variant": "topk", "l1": 0.1}, "k: topk takes k and neither l1 nor l0"),
        ({"variant": "topk", "k": None}, "k: topk takes k and neither l1 nor l0"),
        ({"l0": 3.0, "l1": 0.1}, "l1: relu takes either l1 or l0, and no k"),
        ({"variant": "gated", "l1": None}, "l1: gated takes either l1 or l0, and no k"),
        ({"variant": "topk", "k": 41}, "k: 41 must be at least 1 and at most 40 features"),
        ({"l0": 40.0}, "l0: 40.0 must be above 0 and below 40 features"),
        ({"revive": "aux"}, "revive: relu takes ghost or resample or none, not aux"),
        ({"variant": "gated", "revive": "ghost"}, "revive: gated takes none, not ghost"),
        ({"variant": "matryoshka", "prefixes": (3,)}, "prefixes: .3. must ascend"),
    ],
)
def test_parameters_that_do_not_fit_their_variant_are_refused(
    changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        check(dictionary_parameters(**changes), F)


@pytest.mark.parametrize(("revive", "at_most"), [("ghost", 0.25), ("resample", 0.02)])
def test_dead_features_come_back(revive: str, at_most: float) -> None:
    """Half of the features, switched off by their bias, stay dead without help, not with it."""

    def dead_share(how: str) -> float:
        world = ToyWorld(seed=0)
        weights = starting_weights(128, torch.zeros(64), torch.Generator().manual_seed(1))
        weights.encoder_bias_F[:64] = -10.0
        training = trainer(
            weights, 200, revive=how, dead_after_steps=50, learning_rate=3e-3, l1=0.03, batch=256
        )
        for _ in range(200):
            training.step(world.draw(256) * 5**0.5)  # mean squared norm 64
        return float(training.dead().double().mean())

    assert dead_share("none") >= 0.45
    assert dead_share(revive) <= at_most


def test_resampled_features_start_at_badly_reconstructed_tokens() -> None:
    weights = random_weights(F, D)
    x_ND = batch() * 0.01 + weights.decoder_bias_D
    x_ND[4] = 50 * torch.nn.functional.one_hot(torch.tensor(3), D)  # one that stands out
    moments = [Weights(*(torch.ones_like(t) for t in weights.tensors())) for _ in range(2)]
    dead_F = torch.zeros(F, dtype=torch.bool)
    dead_F[6] = True
    before = Weights(*(tensor.clone() for tensor in weights.tensors()))
    got = run_relu(weights, x_ND)
    resample(got, weights, moments, dead_F, [0])
    direction_D = x_ND[4] - weights.decoder_bias_D
    direction_D = direction_D / direction_D.norm()
    alive_norm = float(row_norms(before.encoder_FD[~dead_F]).mean())
    torch.testing.assert_close(weights.decoder_FD[6], direction_D)
    torch.testing.assert_close(weights.encoder_FD[6], direction_D * 0.2 * alive_norm)
    assert float(weights.encoder_bias_F[6]) == 0
    for moment in moments:
        assert not moment.encoder_FD[6].any()
        assert not moment.decoder_FD[6].any()
        assert moment.encoder_FD[~dead_F].all()
    assert torch.equal(weights.encoder_FD[~dead_F], before.encoder_FD[~dead_F])


def test_resampling_more_features_than_tokens_repeats_tokens_instead_of_failing() -> None:
    weights, x_ND = random_weights(F, D), batch(n=4)
    got = run_relu(weights, x_ND)
    resample(got, weights, [weights.zeros()], torch.ones(F, dtype=torch.bool), [0])
    torch.testing.assert_close(row_norms(weights.decoder_FD), torch.ones(F))


def test_resampling_happens_at_every_window_but_not_near_the_end() -> None:
    assert [step for step in range(1, 101) if resample_now(step, 100, 20)] == [20, 40, 60]


def test_the_penalty_warms_up_linearly_from_zero() -> None:
    training = trainer(random_weights(F, D), l1=0.4, sparsity_warmup_steps=4)
    found = []
    for seed in range(6):
        found.append(training.sparsity())
        training.step(batch(seed))
    assert found == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4])
    assert trainer(random_weights(F, D), l1=0.4).sparsity() == 0.4


@pytest.mark.parametrize(
    ("changes", "density"),
    [
        ({"l1": 0.1}, 1 / 32),
        ({"l0": 1.0}, 1 / 32),
        ({"l0": 8.0}, 0.2),
        ({"l0": 20.0}, 0.25),
        ({"variant": "gated", "l0": 4.0}, 0.2),
        ({"variant": "jumprelu", "l0": 8.0}, 0.1),
        ({"variant": "topk", "k": 4}, 0.5),
        ({"variant": "matryoshka", "k": 4}, 0.5),
    ],
)
def test_features_start_more_often_active_than_asked_for(
    changes: dict[str, Any], density: float
) -> None:
    variant = make_variant(dictionary_parameters(**changes))
    assert variant.start_density(100) == pytest.approx(density)


def test_the_learning_rate_warms_up_and_its_first_step_moves_something() -> None:
    parameters = dictionary_parameters(learning_rate=1.0, warmup_steps=4, learning_rate_decay=0.2)
    rates = [learning_rate_at(step, 100, parameters) for step in (0, 1, 3, 4, 50, 90)]
    assert rates == pytest.approx([0.2, 0.4, 0.8, 1.0, 1.0, 0.5])


def test_the_learning_rate_falls_to_zero_over_the_last_share_of_the_steps() -> None:
    parameters = dictionary_parameters(learning_rate=1.0, learning_rate_decay=0.2)
    rates = [learning_rate_at(step, 100, parameters) for step in (0, 80, 90, 99)]
    assert rates == pytest.approx([1.0, 1.0, 0.5, 0.05])
    constant = dictionary_parameters(learning_rate=1.0)
    assert learning_rate_at(99, 100, constant) == 1.0


def test_the_scale_makes_the_mean_squared_norm_the_width() -> None:
    x_ND = batch() * 17
    scaled_ND = x_ND * activation_scale(x_ND)
    assert float(scaled_ND.square().sum(1).mean()) == pytest.approx(D, rel=1e-5)


@pytest.mark.parametrize("x", [torch.zeros(3, 4), torch.full((3, 4), torch.nan)])
def test_activations_without_a_scale_are_refused(x: Tensor) -> None:
    with pytest.raises(ValueError, match="all zero or not finite"):
        activation_scale(x)


def test_the_scale_is_folded_in_so_that_the_dictionary_takes_raw_activations() -> None:
    weights, x_ND, scale = random_weights(F, D), batch(), 0.3
    scaled_ND = x_ND * scale
    f_NF = torch.relu(
        (scaled_ND - weights.decoder_bias_D) @ weights.encoder_FD.T + weights.encoder_bias_F
    )
    x_hat_ND = (f_NF @ weights.decoder_FD + weights.decoder_bias_D) / scale
    dictionary = fold_scale(weights, scale, "mlp_post", 0)
    torch.testing.assert_close(dictionary.encode(x_ND), f_NF / scale)
    torch.testing.assert_close(dictionary.decode(dictionary.encode(x_ND)), x_hat_ND)
    torch.testing.assert_close(row_norms(dictionary.decoder_FD), torch.ones(F))


def test_unfolding_undoes_folding_threshold_included() -> None:
    weights, threshold_F = random_weights(F, D), torch.rand(F, generator=torch.manual_seed(3))
    dictionary = fold_scale(weights, 0.3, "mlp_post", 0, threshold_F=threshold_F)
    coder = unfold_scale(dictionary, 0.3)
    for ours, theirs in zip(coder.weights.tensors(), weights.tensors(), strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(coder.threshold_F, threshold_F)


def test_the_geometric_median_has_no_nearer_neighbour_and_ignores_an_outlier() -> None:
    x_ND = batch()
    x_ND[0] = 1e4
    median_D = geometric_median(x_ND)

    def distance(point_D: Tensor) -> float:
        return float(torch.linalg.vector_norm(x_ND.double() - point_D, dim=1).sum())

    here = distance(median_D.double())
    for direction_D in torch.eye(D, dtype=torch.float64):
        assert here <= distance(median_D + 0.01 * direction_D) + 1e-6
        assert here <= distance(median_D - 0.01 * direction_D) + 1e-6
    assert float(median_D.norm()) < 2 < float(x_ND.mean(0).norm())


def test_the_geometric_median_of_equal_vectors_is_that_vector() -> None:
    torch.testing.assert_close(geometric_median(torch.ones(5, 3)), torch.ones(3))


def test_at_the_start_every_feature_fires_on_its_share_of_the_vectors() -> None:
    x_ND = batch(n=400)
    weights = starting_weights(F, x_ND.mean(0), torch.Generator().manual_seed(1))
    start_sparse(weights, x_ND, 1 / 32)
    pre_NF = (x_ND - weights.decoder_bias_D) @ weights.encoder_FD.T + weights.encoder_bias_F
    firings_F = (pre_NF > 1e-6).sum(0)
    assert set(firings_F.tolist()) <= {11, 12, 13}  # 400 / 32 = 12.5


def test_the_start_is_unit_decoder_its_transpose_as_encoder_and_the_centre_as_bias() -> None:
    centre_D = torch.arange(D, dtype=torch.float32)
    weights = starting_weights(F, centre_D, torch.Generator().manual_seed(1))
    again = starting_weights(F, centre_D, torch.Generator().manual_seed(1))
    torch.testing.assert_close(row_norms(weights.decoder_FD), torch.ones(F))
    assert torch.equal(weights.encoder_FD, weights.decoder_FD)
    assert weights.encoder_FD.data_ptr() != weights.decoder_FD.data_ptr()
    assert torch.equal(weights.decoder_bias_D, centre_D)
    assert torch.equal(weights.decoder_FD, again.decoder_FD)
