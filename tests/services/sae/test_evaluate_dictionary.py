"""The figures of a dictionary on held-out tokens, beside the formulas written out in numpy.

N: tokens, D: width, F: features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import MistralForCausalLM

from services.sae.evaluate_dictionary import Mean, Quality, density_histogram, loss_recovered, run
from services.sae.weights import fold_scale
from shared.data.token_stream import held_out
from shared.lm.dictionary import Dictionary
from shared.lm.hooks import HOOKS, activations, width
from shared.lm.load import load_model
from shared.stages.stage import Leave, StageError
from tests.support.dictionaries import CONTEXT, WIDTH, packed_tokens, random_weights, tiny_model
from tests.support.language_models import shaped_directory
from tests.support.stages import make_stage, run_stage

PARAMETERS = {"layer": 1, "tokens": 20 * CONTEXT, "context": CONTEXT}
Inputs = dict[str, tuple[Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def model_and_tokens(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    directory = tmp_path_factory.mktemp("inputs")
    return {
        "model": (tiny_model(directory / "model"), {}),
        "tokens/0": (packed_tokens(directory / "a", seed=1), {}),
        "tokens/1": (packed_tokens(directory / "b", seed=2), {}),
    }


def held_out_tokens(inputs: Inputs) -> Tensor:
    stream = held_out([inputs["tokens/0"][0], inputs["tokens/1"][0]], 20 * CONTEXT, CONTEXT)
    return torch.from_numpy(stream.tokens_CT.astype(np.int64))


def held_out_activations(inputs: Inputs) -> Tensor:
    model = load_model(inputs["model"][0])
    return activations(model, held_out_tokens(inputs), "mlp_post", 1).reshape(-1, WIDTH)


def identity() -> Dictionary:
    """Reconstructs exactly: one feature for each sign of each value."""
    eye_DD = torch.eye(WIDTH)
    return Dictionary(
        encoder_DF=torch.cat([eye_DD, -eye_DD], 1),
        encoder_bias_F=torch.zeros(2 * WIDTH),
        decoder_FD=torch.cat([eye_DD, -eye_DD]),
        decoder_bias_D=torch.zeros(WIDTH),
        hook="mlp_post",
        layer=1,
    )


def constant(value_D: Tensor) -> Dictionary:
    """Says the same whatever it sees: all features are silent."""
    return Dictionary(
        encoder_DF=torch.zeros(WIDTH, 8),
        encoder_bias_F=torch.full((8,), -1.0),
        decoder_FD=torch.eye(8, WIDTH),
        decoder_bias_D=value_D,
        hook="mlp_post",
        layer=1,
    )


def random() -> Dictionary:
    return fold_scale(random_weights(64, WIDTH, bias=-0.3), 1.0, "mlp_post", 1)


def evaluate(
    dictionary: Dictionary, inputs: Inputs, directory: Path
) -> tuple[Path, dict[str, Any]]:
    saved = directory / "dictionary"
    saved.mkdir(parents=True)
    dictionary.save(saved)
    return run_stage(run, PARAMETERS, {**inputs, "dictionary": (saved, {})}, directory / "stage")


def test_a_perfect_reconstruction_explains_and_recovers_everything(
    model_and_tokens: Inputs, tmp_path: Path
) -> None:
    _, results = evaluate(identity(), model_and_tokens, tmp_path)
    assert results["explained_variance"] == pytest.approx(1, abs=1e-12)
    assert results["loss_recovered"] == pytest.approx(1, abs=1e-5)
    assert results["loss_recovered_mean"] == pytest.approx(1, abs=1e-5)
    assert results["l0"] == pytest.approx(WIDTH, abs=1e-3)


def test_predicting_the_mean_explains_exactly_nothing(
    model_and_tokens: Inputs, tmp_path: Path
) -> None:
    mean_D = held_out_activations(model_and_tokens).double().mean(0)
    _, results = evaluate(constant(mean_D.float()), model_and_tokens, tmp_path)
    assert results["explained_variance"] == pytest.approx(0, abs=1e-9)
    assert results["loss_recovered_mean"] == pytest.approx(0, abs=1e-5)
    assert results["dead_share"] == 1
    assert results["l0"] == 0
    assert sum(results["density_histogram"]["counts"]) == 0


def test_predicting_zero_is_the_zero_ablation(model_and_tokens: Inputs, tmp_path: Path) -> None:
    _, results = evaluate(constant(torch.zeros(WIDTH)), model_and_tokens, tmp_path)
    assert results["loss_reconstructed"] == results["loss_zero"]
    assert results["loss_recovered"] == 0


def test_every_figure_equals_its_formula(model_and_tokens: Inputs, tmp_path: Path) -> None:
    dictionary = random()
    output, results = evaluate(dictionary, model_and_tokens, tmp_path)
    x_ND = held_out_activations(model_and_tokens)
    f_NF = dictionary.encode(x_ND)
    x, x_hat = x_ND.double().numpy(), dictionary.decode(f_NF).double().numpy()
    variance = np.square(x - x.mean(0)).sum()
    assert results["explained_variance"] == pytest.approx(
        1 - np.square(x - x_hat).sum() / variance, rel=1e-6
    )
    firings_F = (f_NF > 0).double().numpy().sum(0)
    density_F = np.load(output / "density.npy")
    # The share of tokens: the number of firings divided by the number of tokens, once.
    np.testing.assert_allclose(density_F, firings_F / len(x), atol=2 / len(x))
    assert density_F.shape == (64,)
    assert results["l0"] == pytest.approx(float((f_NF > 0).double().sum(1).mean()), rel=1e-3)
    assert results["dead_share"] == float(np.mean(density_F == 0))
    assert results["tokens"] == len(x)
    assert results["features"] == 64
    alive = int((density_F > 0).sum())
    assert sum(results["density_histogram"]["counts"]) == alive > 0


def transformers_loss(model: MistralForCausalLM, tokens_CT: Tensor) -> float:
    with torch.no_grad():
        return float(model(input_ids=tokens_CT, labels=tokens_CT).loss)


def test_losses_equal_those_of_transformers_with_the_activation_replaced(
    model_and_tokens: Inputs, tmp_path: Path
) -> None:
    dictionary = random()
    _, results = evaluate(dictionary, model_and_tokens, tmp_path)
    model = load_model(model_and_tokens["model"][0])
    tokens_CT = held_out_tokens(model_and_tokens)
    mean_D = held_out_activations(model_and_tokens).mean(0)
    clean = transformers_loss(model, tokens_CT)
    assert results["loss"] == pytest.approx(clean, rel=1e-5)
    module = model.model.layers[1].mlp.down_proj
    replacements = {
        "loss_zero": torch.zeros_like,
        "loss_mean": lambda x_BTD: mean_D.expand_as(x_BTD),
        "loss_reconstructed": lambda x_BTD: dictionary.decode(dictionary.encode(x_BTD)),
    }
    for name, function in replacements.items():
        handle = module.register_forward_pre_hook(lambda _, x, function=function: function(x[0]))
        assert results[name] == pytest.approx(transformers_loss(model, tokens_CT), rel=1e-5), name
        handle.remove()
    zero, with_dictionary = results["loss_zero"], results["loss_reconstructed"]
    assert results["loss_recovered"] == pytest.approx(
        (zero - with_dictionary) / (zero - clean), rel=1e-2
    )


def test_features_are_encoded_from_the_clean_activations(model_and_tokens: Inputs) -> None:
    """Not from its own reconstruction: what counts is what the model computed."""
    x_ND, dictionary = held_out_activations(model_and_tokens), random()
    quality = Quality(dictionary, x_ND.double().mean(0))
    quality(x_ND[:, None])
    clean_NF = dictionary.encode(x_ND)
    again_NF = dictionary.encode(dictionary.decode(clean_NF))
    assert torch.equal(quality.firings_F, (clean_NF > 0).sum(0))
    assert not torch.equal(quality.firings_F, (again_NF > 0).sum(0))


def test_the_statistics_do_not_depend_on_how_the_tokens_are_batched(
    model_and_tokens: Inputs,
) -> None:
    x_ND, dictionary = held_out_activations(model_and_tokens), random()
    mean = Mean(WIDTH, torch.device("cpu"))
    for part_ND in x_ND.split(7):
        assert mean(part_ND) is part_ND
    torch.testing.assert_close(mean.value, x_ND.double().mean(0))
    whole, parts = (Quality(dictionary, mean.value) for _ in range(2))
    whole(x_ND)
    for part_ND in x_ND.split(7):
        parts(part_ND)
    assert whole.explained_variance() == pytest.approx(parts.explained_variance(), rel=1e-6)


def test_what_is_not_defined_is_none_and_never_a_division_by_zero() -> None:
    assert loss_recovered(clean=2.0, reconstructed=2.0, ablated=2.0) is None
    assert loss_recovered(clean=2.0, reconstructed=2.5, ablated=4.0) == 0.75
    dictionary = constant(torch.zeros(WIDTH))
    quality = Quality(dictionary, torch.ones(WIDTH, dtype=torch.float64))
    quality(torch.ones(5, WIDTH))
    assert quality.explained_variance() is None


def test_the_histogram_counts_every_living_feature_once_and_no_dead_one() -> None:
    histogram = density_histogram(np.array([0.0, 0.0, 1.0, 0.1, 0.1, 1e-9]))
    assert sum(histogram["counts"]) == 4
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert histogram["counts"][0] == 1  # rarer than the first edge: in the first bin
    assert histogram["counts"][-1] == 1
    assert (histogram["edges"][0], histogram["edges"][-1]) == (-7, 0)


def test_a_dictionary_of_another_model_is_refused(model_and_tokens: Inputs, tmp_path: Path) -> None:
    other = fold_scale(random_weights(16, WIDTH + 1), 1.0, "mlp_post", 1)
    with pytest.raises(StageError, match=f"trained at width {WIDTH + 1}"):
        evaluate(other, model_and_tokens, tmp_path)


def test_the_stage_leaves_when_it_is_asked_to(model_and_tokens: Inputs, tmp_path: Path) -> None:
    random().save(tmp_path)
    stage = make_stage(
        PARAMETERS, {**model_and_tokens, "dictionary": (tmp_path, {})}, tmp_path / "stage"
    )
    stage._stop.set()
    with pytest.raises(Leave):
        run(stage)


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("shape", ["llama", "gpt2", "gpt-neox"])
def test_every_hook_of_every_shape_can_be_evaluated(shape: str, hook: str, tmp_path: Path) -> None:
    inputs: Inputs = {
        "model": (shaped_directory(tmp_path, shape), {}),
        "tokens/0": (packed_tokens(tmp_path / "a", seed=1), {}),
    }
    model = load_model(inputs["model"][0])
    wide = width(model, hook, 1)
    dictionary = fold_scale(random_weights(64, wide, bias=-0.3), 1.0, hook, 1)
    stream = held_out([inputs["tokens/0"][0]], 20 * CONTEXT, CONTEXT)
    tokens_CT = torch.from_numpy(stream.tokens_CT.astype(np.int64))
    x_ND = activations(model, tokens_CT, hook, 1).reshape(-1, wide).double()
    (tmp_path / "saved").mkdir()
    dictionary.save(tmp_path / "saved")
    inputs["dictionary"] = (tmp_path / "saved", {})
    _, results = run_stage(run, {**PARAMETERS, "hook": hook}, inputs, tmp_path / "stage")
    x_hat = dictionary.decode(dictionary.encode(x_ND.float())).double()
    explained = 1 - (x_ND - x_hat).square().sum() / (x_ND - x_ND.mean(0)).square().sum()
    assert results["explained_variance"] == pytest.approx(float(explained), rel=1e-5)
    assert results["loss"] == pytest.approx(transformers_loss(model, tokens_CT), rel=1e-5)
    assert len({results["loss"], results["loss_zero"], results["loss_reconstructed"]}) == 3
