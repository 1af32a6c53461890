"""The hand-written gradients of a crosscoder beside autograd in float64, and its training step.

N: vectors, D: width of one model, E: both widths, F: features.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from services.sae.crosscoder.loop import (
    CrosscoderState,
    Trainer,
    learning_rate_at,
    load_state,
    save_state,
)
from services.sae.crosscoder.step import Crosscoder, Pass, add_auxiliary
from services.sae.crosscoder.weights import CrosscoderWeights, start_weights
from tests.support.crosscoders import crosscoder_parameters, random_crosscoder

N, D, F, K = 40, 12, 96, 3
SPARSE, DENSE = 1.0, -1.0


def batch(seed: int = 5, n: int = N) -> Tensor:
    return torch.randn(n, 2 * D, generator=torch.Generator().manual_seed(seed))


def run(weights: CrosscoderWeights, x_NE: Tensor, sparse_up_to: float = SPARSE) -> Pass:
    return Crosscoder(weights, len(x_NE), K, sparse_up_to).run(x_NE)


def reference(
    leaves: list[Tensor], x_NE: Tensor, chosen_NF: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss, reconstruction and chosen features, model by model, as on a blackboard."""
    encoder_FE, encoder_bias_F, decoder_FE, decoder_bias_E = leaves
    models = (slice(0, D), slice(D, 2 * D))
    pre_NF = encoder_bias_F.expand(len(x_NE), -1)
    for m in models:
        pre_NF = pre_NF + (x_NE[:, m] - decoder_bias_E[m]) @ encoder_FE[:, m].T
    f_NF = torch.relu(pre_NF)
    if chosen_NF is None:
        score_NF = f_NF * sum(decoder_FE[:, m].norm(dim=1) for m in models)
        least = score_NF.flatten().sort(descending=True).values[K * len(x_NE) - 1]
        chosen_NF = score_NF >= least
    f_NF = f_NF * chosen_NF
    made = [f_NF @ decoder_FE[:, m] + decoder_bias_E[m] for m in models]
    loss = torch.stack(
        [(made[i] - x_NE[:, m]).square().sum(1).mean() / D for i, m in enumerate(models)]
    ).sum()
    return loss, torch.cat(made, dim=1), f_NF


def doubles(weights: CrosscoderWeights) -> list[Tensor]:
    return [tensor.double().requires_grad_() for tensor in weights.tensors()]


def assert_close(got: CrosscoderWeights, expected: list[Tensor]) -> None:
    for (name, tensor), want in zip(got.named().items(), expected, strict=True):
        torch.testing.assert_close(
            tensor.double(),
            want,
            rtol=1e-4,
            atol=1e-7,
            msg=lambda text, name=name: f"{name} {text}",
        )


@pytest.mark.parametrize("way", [SPARSE, DENSE])
def test_gradients_equal_those_of_autograd(way: float) -> None:
    weights, x_NE = random_crosscoder(F, D), batch()
    got = run(weights, x_NE, way)
    leaves = doubles(weights)
    loss, made_NE, _ = reference(leaves, x_NE.double())
    gradients = list(torch.autograd.grad(loss, leaves))
    assert float(got.loss) == pytest.approx(float(loss.detach()), rel=1e-5)
    torch.testing.assert_close(got.error_NE.double(), made_NE.detach() - x_NE, rtol=0, atol=1e-5)
    assert_close(got.gradients, gradients)


@pytest.mark.parametrize("way", [SPARSE, DENSE])
def test_k_features_a_vector_stay_on_average_and_the_score_counts_both_norms(way: float) -> None:
    """A direction that lies in one model alone has the lower sum of norms at the same length."""
    weights, x_NE = random_crosscoder(F, D), batch()
    got = run(weights, x_NE, way)
    _, _, f_NF = reference([t.double() for t in weights.tensors()], x_NE.double())
    assert got.l0 == K
    assert torch.equal(got.fired_F, f_NF.sum(0) > 0)
    score_NF = f_NF * weights.norms().sum(0)
    assert got.least == pytest.approx(float(score_NF[score_NF > 0].min()), rel=1e-5)
    plain_NF = torch.relu(got.pre_NF)
    by_activation = plain_NF >= plain_NF.flatten().sort(descending=True).values[K * N - 1]
    assert not torch.equal(by_activation, f_NF > 0)


@pytest.mark.parametrize("way", [SPARSE, DENSE])
def test_a_batch_in_which_nothing_fires_moves_only_the_decoder_bias(way: float) -> None:
    weights, x_NE = random_crosscoder(F, D), batch()
    weights.encoder_bias_F.fill_(-100.0)
    got = run(weights, x_NE, way)
    assert got.least is None
    assert got.l0 == 0
    assert not got.gradients.encoder_FE.any()
    assert not got.gradients.decoder_FE.any()
    torch.testing.assert_close(
        got.gradients.decoder_bias_E, (weights.decoder_bias_E - x_NE).mean(0) * 2 / D
    )


@pytest.mark.parametrize("dead", [5, 40])
def test_auxiliary_gradients_equal_those_of_autograd_and_reach_dead_features_only(
    dead: int,
) -> None:
    """Up to D dead features answer for each token; with 40 the less active of them must not."""
    weights, x_NE = random_crosscoder(F, D), batch()
    dead_F = torch.arange(F) < dead
    weights.encoder_bias_F[dead_F] -= 0.5
    plain, got = run(weights, x_NE), run(weights, x_NE)
    asleep_F = dead_F & ~got.fired_F
    assert 0 < int(asleep_F.sum()) < F
    add_auxiliary(got, weights, dead_F, coefficient=0.25)

    leaves = doubles(weights)
    _, made_NE, _ = reference(leaves, x_NE.double())
    residual_NE = (x_NE - made_NE).detach()
    centred_NE = x_NE.double() - leaves[3].detach()
    pre_NF = (centred_NE @ leaves[0].T + leaves[1]) * asleep_F
    f_NF = torch.relu(pre_NF)
    if int(asleep_F.sum()) > D:
        least_N1 = f_NF.detach().sort(dim=1, descending=True).values[:, D - 1 : D]
        f_NF = f_NF * (f_NF >= least_N1)
    variance = (residual_NE - residual_NE.mean(0)).square().sum()
    loss = 0.25 * (f_NF @ leaves[2] - residual_NE).square().sum() / variance
    expected = torch.autograd.grad(loss, leaves, allow_unused=True)
    for name, want in zip(plain.gradients.named(), expected, strict=True):
        added = got.gradients.named()[name] - plain.gradients.named()[name]
        want = torch.zeros_like(added).double() if want is None else want
        torch.testing.assert_close(added.double(), want, rtol=1e-3, atol=1e-6, msg=name)
        if name != "decoder_bias_E":
            assert bool(added[asleep_F].any())
            assert not added[~asleep_F].any()


def test_a_step_keeps_each_direction_at_unit_norm_over_both_models() -> None:
    weights = random_crosscoder(F, D)
    before_FE = weights.decoder_FE.clone()
    trainer = Trainer(
        CrosscoderState.start(weights), crosscoder_parameters(k=K, learning_rate=0.01), 10, N
    )
    for seed in range(10):
        trainer.step(batch(seed))
    norms_F = trainer.state.weights.decoder_FE.norm(dim=1)
    torch.testing.assert_close(norms_F, torch.ones(F), atol=1e-6, rtol=0)
    assert not torch.allclose(trainer.state.weights.norms(), random_crosscoder(F, D).norms())
    assert not torch.allclose(trainer.state.weights.decoder_FE, before_FE)


def test_the_threshold_is_the_mean_of_the_lowest_chosen_scores() -> None:
    state = CrosscoderState.start(random_crosscoder(F, D))
    trainer = Trainer(state, crosscoder_parameters(k=K), 7, N)
    least = [trainer.step(batch(seed)).least for seed in range(7)]
    assert None not in least
    assert state.threshold == pytest.approx(sum(x for x in least if x) / 7)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    parameters = crosscoder_parameters(learning_rate=1.0, warmup_steps=4, learning_rate_decay=0.5)
    rates = [learning_rate_at(step, 16, parameters) for step in range(16)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:9] == [1.0] * 5
    assert rates[9:] == [7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]


def test_a_state_that_was_saved_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    parameters = crosscoder_parameters(k=K, learning_rate=0.01, dead_after_steps=1)

    def trainer(state: CrosscoderState) -> Trainer:
        return Trainer(state, parameters, 9, N)

    whole = trainer(CrosscoderState.start(random_crosscoder(F, D)))
    for seed in range(9):
        if seed == 4:
            assert bool(whole.dead().any())  # or the silence counters would not be tested
            save_state(tmp_path, whole.state, [0.3, 0.7], ["a\n"])
        whole.step(batch(seed))
    state, scales, curve = load_state(tmp_path, torch.device("cpu"))
    assert (state.step, scales, curve) == (4, [0.3, 0.7], ["a\n"])
    resumed = trainer(state)
    for seed in range(4, 9):
        resumed.step(batch(seed))
    assert resumed.state.threshold == whole.state.threshold
    for ours, theirs in zip(
        resumed.state.weights.tensors(), whole.state.weights.tensors(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_the_start_has_unit_directions_and_each_models_geometric_median() -> None:
    x_NE = batch(n=500) + torch.cat([torch.full((D,), 3.0), torch.full((D,), -2.0)])
    weights = start_weights(F, x_NE, torch.Generator().manual_seed(1))
    torch.testing.assert_close(weights.decoder_FE.norm(dim=1), torch.ones(F))
    assert torch.equal(weights.encoder_FE, weights.decoder_FE)
    assert float((weights.decoder_bias_E[:D] - 3).abs().max()) < 0.3
    assert float((weights.decoder_bias_E[D:] + 2).abs().max()) < 0.3


def test_the_file_holds_what_its_formula_says(tmp_path: Path) -> None:
    weights, x_NE = random_crosscoder(F, D), batch()
    scale_2 = torch.tensor([0.5, 4.0])
    weights.save(tmp_path, 0.75, scale_2)
    saved = load_file(tmp_path / "crosscoder.safetensors")
    assert saved["encoder_2DF"].shape == (2, D, F)
    assert saved["decoder_2FD"].shape == (2, F, D)
    raw_2ND = [x_NE[:, :D] / 0.5, x_NE[:, D:] / 4.0]
    pre_NF = saved["encoder_bias_F"].expand(N, -1)
    for m in (0, 1):
        centred_ND = raw_2ND[m] * saved["scale_2"][m] - saved["decoder_bias_2D"][m]
        pre_NF = pre_NF + centred_ND @ saved["encoder_2DF"][m]
    torch.testing.assert_close(pre_NF, run(weights, x_NE).pre_NF, rtol=1e-4, atol=1e-5)
    norms_2F = saved["decoder_2FD"].norm(dim=2)
    torch.testing.assert_close(norms_2F, weights.norms())
    assert float(saved["threshold"]) == 0.75
