"""The `dictionary` stage from parameters to files: repeatable, resumable, honest about failure.

F: features, D: width.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.sae import harvest, source
from services.sae.dictionary import count_features, initial_seed, run
from services.sae.source import ModelSource
from services.sae.start import activation_scale
from services.sae.train import Trainer
from shared.lm.dictionary import load_dictionary
from shared.lm.hooks import activations
from shared.lm.load import load_model
from shared.stage import Input, Leave, Stage, StageError
from shared.stream import TrainingStream
from tests.dictionary_support import (
    CONTEXT,
    WIDTH,
    dictionary_parameters,
    packed_tokens,
    tiny_model,
)
from tests.support import make_stage, run_stage

FILES = ("cfg.json", "sae_weights.safetensors", "curve.jsonl")
Inputs = dict[str, tuple[Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    directory = tmp_path_factory.mktemp("inputs")
    return {
        "model": (tiny_model(directory / "model"), {}),
        "tokens/0": (packed_tokens(directory / "a", seed=1), {}),
        "tokens/1": (packed_tokens(directory / "b", seed=2), {}),
    }


def parameters(**changes: Any) -> dict[str, Any]:
    return dictionary_parameters(**changes).model_dump()


def contents(directory: Path) -> list[bytes]:
    return [(directory / file).read_bytes() for file in FILES]


def test_the_stage_writes_a_dictionary_its_curve_and_its_results(
    inputs: Inputs, tmp_path: Path
) -> None:
    output, results = run_stage(run, parameters(), inputs, tmp_path)
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    dictionary = load_dictionary(output)
    assert (dictionary.features, dictionary.width) == (64, WIDTH)
    assert (dictionary.hook, dictionary.layer) == ("mlp_post", 1)
    norms_F = torch.linalg.vector_norm(dictionary.decoder_FD, dim=1)
    torch.testing.assert_close(norms_F, torch.ones(64), atol=1e-6, rtol=0)
    assert {name: results[name] for name in ("features", "width", "vectors")} == {
        "features": 64,
        "width": WIDTH,
        "vectors": 40 * 8 * CONTEXT,
    }
    assert results["seconds_per_million"] > 0
    assert results["scale"] > 0


def test_training_lowers_the_loss_on_fresh_raw_activations(inputs: Inputs, tmp_path: Path) -> None:
    changes = {"tokens": 400 * 8 * CONTEXT, "l1": 1e-3, "learning_rate": 3e-3}
    output, results = run_stage(run, parameters(**changes), inputs, tmp_path)
    model = load_model(inputs["model"][0])
    tokens = torch.randint(90, (16, CONTEXT), generator=torch.Generator().manual_seed(9))
    x_ND = activations(model, tokens, "mlp_post", 1).reshape(-1, WIDTH)
    dictionary = load_dictionary(output)
    error = float((dictionary.decode(dictionary.encode(x_ND)) - x_ND).square().sum())
    assert error < 0.3 * float((x_ND - x_ND.mean(0)).square().sum())
    lines = [json.loads(line) for line in (output / "curve.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert results["scale"] == pytest.approx(activation_scale(x_ND), rel=0.1)


def test_the_same_key_gives_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    first, _ = run_stage(run, parameters(), inputs, tmp_path / "1")
    second, _ = run_stage(run, parameters(), inputs, tmp_path / "2")
    assert contents(first) == contents(second)


def test_the_curve_holds_steps_and_figures_and_no_times(inputs: Inputs, tmp_path: Path) -> None:
    output, _ = run_stage(run, parameters(l1_warmup_steps=10), inputs, tmp_path)
    lines = [json.loads(line) for line in (output / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    assert set(lines[0]) == {
        "step",
        "loss",
        "squared_error",
        "l1",
        "l0",
        "explained_variance",
        "dead_share",
        "learning_rate",
    }
    assert lines[0]["l1"] == 0
    assert lines[-1]["l1"] == 0.01
    for line in lines:
        assert 0 <= line["l0"] <= 64
        assert line["loss"] >= line["squared_error"]


def test_progress_carries_the_figures_a_user_watches(inputs: Inputs, tmp_path: Path) -> None:
    stage = make_stage(parameters(), inputs, tmp_path)
    run(stage)
    assert isinstance(stage.events, io.StringIO)
    events = [json.loads(line) for line in stage.events.getvalue().splitlines()]
    last = [event for event in events if event["event"] == "progress"][-1]
    assert (last["done"], last["total"], last["unit"]) == (40, 40, "steps")
    names = {"loss", "l0", "explained_variance", "dead_share", "vectors_per_second"}
    assert names <= set(last)


@pytest.mark.parametrize("revive", ["ghost", "resample", "none"])
@pytest.mark.parametrize("leave_after", [5, 23])
def test_a_resumed_run_ends_with_the_same_bytes(
    inputs: Inputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    revive: str,
    leave_after: int,
) -> None:
    """Step 5 lies within the first round of activations, step 23 within the second."""
    settings = parameters(revive=revive, dead_after_steps=4, learning_rate=0.02, l1=0.2)
    whole, _ = run_stage(run, settings, inputs, tmp_path / "whole")
    stage = make_stage(settings, inputs, tmp_path / "left")
    taken: list[int] = []
    original = Trainer.step

    def step(self: Trainer, x_ND: Tensor) -> Any:
        result = original(self, x_ND)
        taken.append(self.state.step)
        if self.state.step == leave_after:
            stage._stop.set()
        return result

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(Leave):
        run(stage)
    resume = stage.checkpoints / str(leave_after)
    resumed, _ = run_stage(run, settings, inputs, tmp_path / "resumed", resume=resume)
    assert taken == list(range(1, 41))
    assert contents(resumed) == contents(whole)
    if revive == "ghost":  # the case is worth nothing unless features die
        last = json.loads((whole / "curve.jsonl").read_text().splitlines()[-1])
        assert last["dead_share"] > 0


def key_of(stage: Stage, key: str) -> None:
    model = stage.inputs["model"]
    stage.inputs = {**stage.inputs, "model": Input(key, model.path, {})}


def weights_at_start(inputs: Inputs, directory: Path, key: str, **changes: Any) -> Tensor:
    """The decoder after a single step that moves nothing."""
    settings = parameters(tokens=8 * CONTEXT, learning_rate=1e-12, **changes)
    stage = make_stage(settings, inputs, directory)
    key_of(stage, key)
    run(stage)
    return load_dictionary(stage.output).decoder_FD


def test_two_models_start_from_the_same_weights_only_when_the_start_is_shared(
    inputs: Inputs, tmp_path: Path
) -> None:
    def start(name: str, key: str, **changes: Any) -> Tensor:
        return weights_at_start(inputs, tmp_path / name, key, **changes)

    assert not torch.allclose(start("a", "one"), start("b", "two"))
    assert torch.allclose(start("c", "one", init="shared"), start("d", "two", init="shared"))
    assert not torch.allclose(
        start("e", "one", init="shared"), start("f", "one", init="shared", replicate=1)
    )


def test_the_starting_seed_is_the_same_on_every_machine() -> None:
    settings = dictionary_parameters()
    assert initial_seed(settings, "key") == initial_seed(settings, "key")
    assert initial_seed(settings, "key") == 6686071417351050807
    seeds = {
        initial_seed(dictionary_parameters(seed=seed, replicate=replicate), key)
        for seed in (0, 1)
        for replicate in (0, 1)
        for key in ("a", "b")
    }
    assert len(seeds) == 8


def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The order seeds of the token streams that are opened from now on."""
    seeds: list[int] = []

    class Watched(TrainingStream):
        def __init__(self, directories: Any, context: int, seed: int) -> None:
            seeds.append(seed)
            super().__init__(directories, context, seed)

    monkeypatch.setattr(source, "TrainingStream", Watched)
    return seeds


def test_replicates_read_the_data_in_different_orders(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = reads(monkeypatch)
    for replicate in (0, 1):
        settings = parameters(tokens=8 * CONTEXT, replicate=replicate)
        run_stage(run, settings, inputs, tmp_path / str(replicate))
    assert seeds[0] == 1337
    assert seeds[1] != seeds[0]


def test_a_harvest_trains_the_same_dictionary_as_the_model_itself(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = {
        "layer": 1,
        "tokens": 40 * 8 * CONTEXT,
        "context": CONTEXT,
        "precision": "float32",
        "seed": 1337,
    }
    directory, results = run_stage(harvest.run, stored, inputs, tmp_path / "harvest")
    live, _ = run_stage(run, parameters(), inputs, tmp_path / "live")
    monkeypatch.setattr(ModelSource, "read", None)  # the model must not be asked again
    kept, _ = run_stage(
        run, parameters(), {**inputs, "harvest": (directory, results)}, tmp_path / "kept"
    )
    torch.testing.assert_close(
        load_dictionary(kept).decoder_FD, load_dictionary(live).decoder_FD, atol=1e-3, rtol=0
    )


def test_the_number_of_features_is_given_or_a_multiple_of_the_width() -> None:
    assert count_features(dictionary_parameters(features=99), 48) == 99
    assert count_features(dictionary_parameters(features=None, expansion=2.5), 48) == 120
    with pytest.raises(StageError, match="give a number of features or an expansion"):
        count_features(dictionary_parameters(features=None), 48)


def test_a_loss_that_is_not_finite_fails_for_good_and_says_when(
    inputs: Inputs, tmp_path: Path
) -> None:
    settings = parameters(learning_rate=1e30)
    with pytest.raises(StageError, match=r"loss is not finite at step \d+: lower learning_rate"):
        run_stage(run, settings, inputs, tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layer": 5}, "layer 5 is out of range: the model has 2 layers"),
        ({"tokens": 100}, "tokens: 100 is less than one step of 8 contexts of 16 tokens"),
        ({"context": 5000, "tokens": 10**6}, "hold no whole context of 5000 tokens"),
    ],
)
def test_a_dictionary_that_cannot_be_trained_says_which_parameter_is_wrong(
    inputs: Inputs, tmp_path: Path, changes: dict[str, int], sentence: str
) -> None:
    with pytest.raises(StageError, match=sentence):
        run_stage(run, parameters(**changes), inputs, tmp_path)
