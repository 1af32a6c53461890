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

from services.sae import activations as source
from services.sae import dictionary_member, dictionary_set, harvest
from services.sae.activations import ModelSource
from services.sae.dictionary import run
from services.sae.start import activation_scale
from services.sae.training.loop import Trainer
from services.sae.training.member import count_features, initial_seed
from shared.data.token_stream import TrainingStream
from shared.lm.dictionary import load_dictionary
from shared.lm.hooks import activations
from shared.lm.load import load_model
from shared.stages.stage import Input, Leave, Stage, StageError
from tests.support.dictionaries import (
    CONTEXT,
    WIDTH,
    dictionary_parameters,
    packed_tokens,
    tiny_model,
)
from tests.support.stages import make_stage, run_stage

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
    output, _ = run_stage(run, parameters(sparsity_warmup_steps=10), inputs, tmp_path)
    lines = [json.loads(line) for line in (output / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    assert set(lines[0]) == {
        "step",
        "loss",
        "squared_error",
        "coefficient",
        "l0",
        "explained_variance",
        "dead_share",
        "learning_rate",
    }
    assert lines[0]["coefficient"] == 0
    assert lines[-1]["coefficient"] == 0.01
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


VARIANTS: dict[str, dict[str, Any]] = {
    "ghost": {"revive": "ghost", "l1": 0.2},
    "resample": {"revive": "resample", "l1": 0.2},
    "none": {"revive": "none", "l1": 0.2},
    "steered": {"l0": 3.0},
    "penalised": {"l0": 3.0, "decoder_norm": "penalised"},
    "topk": {"variant": "topk", "k": 2, "sparsity_warmup_steps": 10},
    "batchtopk": {"variant": "batchtopk", "k": 2},
    "matryoshka": {"variant": "matryoshka", "k": 2},
    "gated": {"variant": "gated", "l0": 3.0},
    "jumprelu": {"variant": "jumprelu", "l0": 3.0},
}


@pytest.mark.parametrize("case", VARIANTS)
@pytest.mark.parametrize("leave_after", [5, 23])
def test_a_resumed_run_ends_with_the_same_bytes(
    inputs: Inputs,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
    leave_after: int,
) -> None:
    """Step 5 lies within the first round of activations, step 23 within the second."""
    settings = parameters(dead_after_steps=4, learning_rate=0.02, **VARIANTS[case])
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
    if case == "ghost":  # the case is worth nothing unless features die
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


@pytest.mark.parametrize("case", VARIANTS)
def test_every_variant_is_exported_with_unit_directions_and_read_back(
    inputs: Inputs, tmp_path: Path, case: str
) -> None:
    output, results = run_stage(run, parameters(**VARIANTS[case]), inputs, tmp_path)
    dictionary = load_dictionary(output)
    norms_F = torch.linalg.vector_norm(dictionary.decoder_FD, dim=1)
    torch.testing.assert_close(norms_F, torch.ones(64), atol=1e-5, rtol=0)
    variant = VARIANTS[case].get("variant", "relu")
    assert dictionary.k == (2 if variant == "topk" else None)
    thresholds = variant in ("batchtopk", "matryoshka", "gated", "jumprelu")
    assert (dictionary.threshold_F is not None) == thresholds
    if "k" in VARIANTS[case]:
        assert results["coefficient"] is None
    else:
        assert results["coefficient"] > 0


def test_parameters_that_do_not_fit_fail_for_good(inputs: Inputs, tmp_path: Path) -> None:
    settings = {**parameters(), "k": 3}
    with pytest.raises(StageError, match="l1: relu takes either l1 or l0, and no k"):
        run_stage(run, settings, inputs, tmp_path)


@pytest.mark.parametrize("case", VARIANTS)
def test_a_child_starts_from_the_weights_of_its_parents_dictionary(
    inputs: Inputs, tmp_path: Path, case: str
) -> None:
    """After one step that moves nothing, it answers to raw activations as the parent's does."""
    parent, _ = run_stage(run, parameters(**VARIANTS[case]), inputs, tmp_path / "parent")
    child = tiny_model(tmp_path / "model", seed=1)  # another scale
    settings = parameters(
        **{**VARIANTS[case], "sparsity_warmup_steps": 0},
        tokens=8 * CONTEXT, learning_rate=1e-12, init="parent",
    )  # fmt: skip
    given = {**inputs, "model": (child, {}), "start": (parent, {})}
    output, _ = run_stage(run, settings, given, tmp_path / "child")
    theirs, ours = load_dictionary(parent), load_dictionary(output)
    x_ND = torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(4))
    pre_NF = (x_ND - theirs.decoder_bias_D) @ theirs.encoder_DF + theirs.encoder_bias_F
    got_NF = (x_ND - ours.decoder_bias_D) @ ours.encoder_DF + ours.encoder_bias_F
    torch.testing.assert_close(got_NF, pre_NF, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.decoder_FD, theirs.decoder_FD)
    if case in ("gated", "jumprelu"):  # the others have none, or one that follows the batches
        assert theirs.threshold_F is not None
        torch.testing.assert_close(ours.threshold_F, theirs.threshold_F, atol=1e-5, rtol=1e-4)


def test_a_start_of_other_sizes_or_none_is_refused(inputs: Inputs, tmp_path: Path) -> None:
    parent, _ = run_stage(run, parameters(features=32), inputs, tmp_path / "parent")
    with pytest.raises(StageError, match="start: the dictionary has 32 features at width 48"):
        run_stage(
            run, parameters(init="parent"), {**inputs, "start": (parent, {})}, tmp_path / "child"
        )
    with pytest.raises(StageError, match="needs the dictionary to start from"):
        run_stage(run, parameters(init="parent"), inputs, tmp_path / "none")


MEMBERS = [
    {},
    {"features": 32, "variant": "batchtopk", "k": 3},
    {"l0": 4.0, "learning_rate": 0.01},
]


def test_a_set_reads_the_activations_once_and_trains_what_each_would_be_alone(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = [
        run_stage(run, parameters(**changes), inputs, tmp_path / str(number))
        for number, changes in enumerate(MEMBERS)
    ]
    read: list[int] = []
    original = ModelSource.read

    def watched(self: ModelSource, first: int, count: int) -> Tensor:
        read.append(first)
        return original(self, first, count)

    monkeypatch.setattr(ModelSource, "read", watched)
    settings = {"members": [parameters(**changes) for changes in MEMBERS]}
    output, results = run_stage(dictionary_set.run, settings, inputs, tmp_path / "set")
    assert read == [0, 16, 32]
    for number, (directory, own) in enumerate(alone):
        assert contents(output / str(number)) == contents(directory)
        time = "seconds_per_million"
        assert {**results["members"][number], time: 0} == {**own, time: 0}
    member, member_results = run_stage(
        dictionary_member.run, {"member": 1}, {"set": (output, results)}, tmp_path / "member"
    )
    assert contents(member) == contents(alone[1][0])
    assert member_results == results["members"][1]


def test_a_resumed_set_ends_with_the_same_bytes(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"members": [parameters(**changes) for changes in MEMBERS]}
    whole, _ = run_stage(dictionary_set.run, settings, inputs, tmp_path / "whole")
    stage = make_stage(settings, inputs, tmp_path / "left")
    original = Trainer.step

    def step(self: Trainer, x_ND: Tensor) -> Any:
        if self.state.step == 19:
            stage._stop.set()
        return original(self, x_ND)

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(Leave):
        dictionary_set.run(stage)
    monkeypatch.setattr(Trainer, "step", original)
    resume = stage.checkpoints / "20"
    resumed, _ = run_stage(
        dictionary_set.run, settings, inputs, tmp_path / "resumed", resume=resume
    )
    for number in range(len(MEMBERS)):
        assert contents(resumed / str(number)) == contents(whole / str(number))


def test_members_that_would_read_other_activations_are_refused(
    inputs: Inputs, tmp_path: Path
) -> None:
    settings = {"members": [parameters(), parameters(layer=0)]}
    with pytest.raises(StageError, match="members: layer must be the same for all, it is 1 for"):
        run_stage(dictionary_set.run, settings, inputs, tmp_path / "a")
    with pytest.raises(StageError, match="members: a set needs at least one dictionary"):
        run_stage(dictionary_set.run, {"members": []}, inputs, tmp_path / "b")


def test_a_member_that_a_set_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="member: the set has 2 dictionaries, not a number 2"):
        run_stage(
            dictionary_member.run,
            {"member": 2},
            {"set": (tmp_path, {"members": [{}, {}]})},
            tmp_path / "member",
        )
