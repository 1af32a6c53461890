"""Initialise, train and evaluate on models small enough to be trained in a second."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.trainer import checkpoint, evaluate, initialise
from services.trainer.train import stage as train
from services.trainer.train.optimiser import learning_rate, make_optimiser
from shared.lm.load import load_model
from shared.lm.loss import _hidden, output_weight
from shared.stages.stage import Leave, Stage, StageError
from shared.stages.trainer import TrainParameters
from tests.support.language_models import (
    ARCHITECTURE,
    BLOCK,
    VOCABULARY,
    Artifact,
    model_artifact,
    read_jsonl,
    tokenizer_artifact,
    tokens_artifact,
)
from tests.support.stages import make_stage, run_stage

CPU = torch.device("cpu")
PARAMETERS: dict[str, Any] = {
    "epochs": 3, "batch": 8, "block": BLOCK, "learning_rate": 3e-3, "schedule": "cosine",
    "warmup_steps": 2, "weight_decay": 0.1, "seed": 7,
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    directory = tmp_path_factory.mktemp("inputs")
    return {
        "model": model_artifact(directory),
        "tokens/0": tokens_artifact(directory / "t0", seed=0),
        "tokens/1": tokens_artifact(directory / "t1", seed=1, blocks=24),
    }


@pytest.fixture(scope="module")
def trained(inputs: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run_stage(train.run, PARAMETERS, inputs, tmp_path_factory.mktemp("trained"))


def parameters(**changes: Any) -> TrainParameters:
    return TrainParameters.model_validate({**PARAMETERS, **changes})


def weights(path: Path) -> bytes:
    return (path / "model.safetensors").read_bytes()


# ------------------------------------------------------------------------- initialise


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path) -> None:
    first, _ = model_artifact(tmp_path / "a", seed=3)
    torch.rand(5)
    again, _ = model_artifact(tmp_path / "b", seed=3)
    other, _ = model_artifact(tmp_path / "c", seed=4)
    assert weights(first) == weights(again) != weights(other)


def test_initialising_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    model_artifact(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_configuration_is_the_architecture_with_the_tokenizers_ids(tmp_path: Path) -> None:
    path, results = model_artifact(tmp_path, rope_theta=5000.0, norm_eps=1e-5)
    config = json.loads((path / "config.json").read_text())
    assert config["model_type"] == "mistral"
    assert (config["vocab_size"], config["hidden_size"]) == (VOCABULARY, 32)
    assert (config["bos_token_id"], config["eos_token_id"]) == (0, 0)
    assert config["rope_parameters"]["rope_theta"] == 5000.0
    assert (config["rms_norm_eps"], config["sliding_window"]) == (1e-5, None)
    generation = json.loads((path / "generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (0, 0)
    stored = load_file(path / "model.safetensors")
    assert results["parameters"] == sum(tensor.numel() for tensor in stored.values())
    assert {name: results[name] for name in ARCHITECTURE} == ARCHITECTURE


def test_the_paper_shape_has_the_papers_number_of_parameters(tmp_path: Path) -> None:
    path, results = tokenizer_artifact(tmp_path / "tokenizer")
    architecture = initialise.Architecture(
        hidden=512, mlp=1024, heads=16, kv_heads=8, layers=1, context=2048
    )
    config = initialise.configuration(architecture, path, {**results, "vocab_size": 32000})
    with torch.device("meta"):
        model = initialise.MistralForCausalLM(config)
    assert sum(weight.numel() for weight in model.parameters()) == 35_128_832


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": 30}, "architecture.hidden is 30"),
        ({"heads": 32}, "architecture.hidden is 32: it must be an even multiple"),
        ({"kv_heads": 3}, "architecture.heads is 4: it must be a multiple of kv_heads"),
        ({"layers": 0}, "architecture.layers is 0: it must be at least 1"),
        ({"mlp": -1}, "architecture.mlp is -1"),
    ],
)
def test_sizes_that_do_not_fit_are_named(
    tmp_path: Path, changes: dict[str, int], message: str
) -> None:
    with pytest.raises(StageError, match=message):
        model_artifact(tmp_path, **changes)


# ------------------------------------------------------------------------------ train


def test_training_lowers_the_loss_and_writes_the_curve(trained: Artifact) -> None:
    path, results = trained
    curve = read_jsonl(path / "curve.jsonl")
    assert [row["step"] for row in curve] == list(range(1, 25))
    assert curve[-1]["tokens"] == results["tokens"] == 24 * 8 * BLOCK
    assert results["steps"] == 24
    assert results["precision"] == "float32"
    assert curve[0]["loss"] == pytest.approx(math.log(VOCABULARY), abs=0.2)
    assert results["loss"] == curve[-1]["loss"] < curve[0]["loss"] - 0.5
    assert set(curve[0]) == {"step", "loss", "learning_rate", "gradient_norm", "tokens"}


def test_the_same_training_gives_the_same_bytes(
    inputs: dict[str, Artifact], trained: Artifact, tmp_path: Path
) -> None:
    again, _ = run_stage(train.run, PARAMETERS, inputs, tmp_path)
    assert weights(again) == weights(trained[0])
    assert (again / "curve.jsonl").read_bytes() == (trained[0] / "curve.jsonl").read_bytes()


class Interrupted(Stage):
    """A stage that is asked to leave after a number of checks."""

    def stop_at(self, step: int) -> None:
        self._left = step

    def checkpoint_due(self) -> bool:
        self._left -= 1
        if self._left == 0:
            self._stop.set()
        return super().checkpoint_due()


def interrupted(
    step: int, values: dict[str, Any], inputs: dict[str, Artifact], directory: Path,
    resume: Path | None = None,
) -> Path:  # fmt: skip
    """Run until `step` more steps are done; returns the checkpoint. No file is written before."""
    stage = make_stage(values, inputs, directory, resume=resume)
    found = left(stage, step)
    assert not any(stage.output.iterdir())
    return found


def left(stage: Stage, step: int) -> Path:
    """Run a stage until `step` more steps are done; returns the checkpoint."""
    stage.__class__ = Interrupted
    assert isinstance(stage, Interrupted)
    stage.stop_at(step)
    with pytest.raises(Leave):
        train.run(stage)
    (found,) = stage.checkpoints.iterdir()
    return found


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_interrupted_twice_ends_with_the_bytes_of_an_undisturbed_one(
    inputs: dict[str, Artifact], tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CURVE_ROWS", 5)  # rows of four steps: a stop falls inside one
    values = {**PARAMETERS, "precision": precision}
    whole, expected = run_stage(train.run, values, inputs, tmp_path / "whole")
    first = interrupted(5, values, inputs, tmp_path / "first")
    second = interrupted(6, values, inputs, tmp_path / "second", resume=first)
    assert (first.name, second.name) == ("5", "11")
    torch.rand(3)
    output, results = run_stage(train.run, values, inputs, tmp_path / "last", resume=second)
    assert weights(output) == weights(whole)
    assert (output / "curve.jsonl").read_bytes() == (whole / "curve.jsonl").read_bytes()
    assert results == expected


def test_a_checkpoint_holds_no_pickle(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    checkpoint = interrupted(2, PARAMETERS, inputs, tmp_path)
    assert {path.suffix for path in checkpoint.iterdir()} == {".json", ".safetensors"}


KEPT = {**PARAMETERS, "schedule": "constant", "checkpoints": [4, 9]}


def test_a_kept_model_is_the_model_of_a_run_that_stops_there(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    run = run_stage(train.run, KEPT, inputs, tmp_path / "run")
    plain, _ = run_stage(train.run, {**KEPT, "checkpoints": []}, inputs, tmp_path / "plain")
    assert weights(run[0]) == weights(plain)  # keeping models changes nothing
    for step in (4, 9):
        stopped = {**KEPT, "checkpoints": [], "max_steps": step}
        expected, _ = run_stage(train.run, stopped, inputs, tmp_path / f"stopped-{step}")
        kept, results = run_stage(
            checkpoint.run, {"step": step}, {"train": run}, tmp_path / f"kept-{step}"
        )
        assert weights(kept) == weights(expected)
        assert results == {"parameters": run[1]["parameters"], "steps": step}
        assert {f.name for f in kept.iterdir()} == {
            f.name for f in expected.iterdir() if f.name != "curve.jsonl"
        }
    AutoModelForCausalLM.from_pretrained(run[0] / "step-00000004")


def test_kept_models_survive_interruptions(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    values = {**KEPT, "schedule": "cosine"}
    whole, _ = run_stage(train.run, values, inputs, tmp_path / "whole")

    # given a run that was stopped after the first of them and again after the second
    stage = make_stage(values, inputs, tmp_path / "first")
    first = left(stage, 6)
    assert (first / "step-00000004").is_dir()
    stage = make_stage(values, inputs, tmp_path / "second", resume=first)
    second = left(stage, 5)

    output, _ = run_stage(train.run, values, inputs, tmp_path / "last", resume=second)
    for step in ("step-00000004", "step-00000009"):
        assert weights(output / step) == weights(whole / step)
    assert weights(output) == weights(whole)


@pytest.mark.parametrize("steps", [[24], [3, 30]])
def test_a_step_behind_the_end_of_the_run_is_refused(
    inputs: dict[str, Artifact], tmp_path: Path, steps: list[int]
) -> None:
    with pytest.raises(StageError, match=f"{steps[-1]} must be below the last step .* which is 24"):
        run_stage(train.run, {**PARAMETERS, "checkpoints": steps}, inputs, tmp_path)


def test_a_step_that_was_not_kept_is_refused(trained: Artifact, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="kept no model after step 5"):
        run_stage(checkpoint.run, {"step": 5}, {"train": trained}, tmp_path)


def test_dropout_of_an_imported_model_resumes_with_the_same_bits(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    source = tmp_path / "dropout"
    source.mkdir()
    for file in inputs["model"][0].iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "attention_dropout": 0.3}))
    random = {**inputs, "model": (source, {})}
    values = {**PARAMETERS, "max_steps": 6}
    plain, _ = run_stage(train.run, values, inputs, tmp_path / "plain")
    whole, _ = run_stage(train.run, values, random, tmp_path / "whole")
    stop = interrupted(3, values, random, tmp_path / "stop")
    resumed, _ = run_stage(train.run, values, random, tmp_path / "resumed", resume=stop)
    assert weights(plain) != weights(whole) == weights(resumed)


def test_a_nan_stops_the_training_with_a_sentence(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    source = tmp_path / "broken"
    source.mkdir()
    for file in inputs["model"][0].iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    broken = load_file(source / "model.safetensors")
    broken["model.norm.weight"][0] = math.nan
    save_file(broken, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(StageError, match=r"loss became nan at step 1 of 24 .* lower learning_rate"):
        run_stage(train.run, PARAMETERS, {**inputs, "model": (source, {})}, tmp_path / "run")


def test_corpora_without_a_whole_block_are_refused(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    empty = tokens_artifact(tmp_path / "empty", blocks=0)
    with pytest.raises(StageError, match="no whole block of 16 tokens"):
        run_stage(
            train.run, PARAMETERS, {"model": inputs["model"], "tokens/0": empty}, tmp_path / "run"
        )


@pytest.mark.parametrize(
    ("changes", "contexts", "expected"),
    [({"epochs": 3}, 64, 24), ({"epochs": 0.5}, 65, 5), ({"max_steps": 7}, 64, 7),
     ({"epochs": 1}, 3, 1)],
)  # fmt: skip
def test_steps_are_epochs_times_contexts_over_batch(
    changes: dict[str, Any], contexts: int, expected: int
) -> None:
    assert train.count_steps(parameters(**changes), contexts) == expected


def test_a_training_of_no_steps_is_refused() -> None:
    with pytest.raises(StageError, match="takes no step"):
        train.count_steps(parameters(epochs=0), 64)


def test_the_cosine_rises_over_the_warm_up_and_falls_to_zero() -> None:
    values = parameters(learning_rate=1.0, warmup_steps=4)
    rates = [learning_rate(values, step, 24) for step in range(24)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[14] == pytest.approx(0.5)
    assert rates == sorted(rates[:5]) + sorted(rates[5:], reverse=True)
    assert 0 < rates[-1] < 0.01


def test_linear_and_constant_schedules() -> None:
    linear = parameters(learning_rate=1.0, warmup_steps=0, schedule="linear")
    assert [learning_rate(linear, step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]
    constant = parameters(learning_rate=1.0, warmup_steps=2, schedule="constant")
    assert [learning_rate(constant, step, 4) for step in range(4)] == [0.5, 1.0, 1.0, 1.0]


def test_only_matrices_decay(inputs: dict[str, Artifact]) -> None:
    model = load_model(inputs["model"][0], CPU)
    optimiser = make_optimiser(model, parameters(learning_rate=0.5))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimiser.step()
    for name, weight in model.named_parameters():
        factor = 1.0 if "norm" in name else 1 - 0.5 * 0.1
        torch.testing.assert_close(weight.detach(), before[name] * factor)


def test_a_step_is_clipped_adamw_at_the_scheduled_rate(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    values = {**PARAMETERS, "max_steps": 1, "warmup_steps": 4, "gradient_clip": 0.01}
    output, _ = run_stage(train.run, values, inputs, tmp_path)
    (row,) = read_jsonl(output / "curve.jsonl")
    model = load_model(inputs["model"][0], CPU)
    stream = train.TrainingStream([inputs["tokens/0"][0], inputs["tokens/1"][0]], BLOCK, 7)
    tokens_BT = torch.from_numpy(stream.batch(0, 8))
    loss = model(input_ids=tokens_BT, labels=tokens_BT).loss
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-6)
    assert row["gradient_norm"] == pytest.approx(float(norm), rel=1e-4)
    assert row["learning_rate"] == 3e-3 / 4
    found = load_file(output / "model.safetensors")
    for name, weight in model.named_parameters():
        # The first step of Adam: the bias-corrected moments are the gradient and its square.
        assert weight.grad is not None
        step = weight.grad / (weight.grad.abs() + 1e-8)
        decay = 0.0 if weight.ndim < 2 else 0.1
        expected = weight.detach() * (1 - row["learning_rate"] * decay)
        expected -= row["learning_rate"] * step
        torch.testing.assert_close(found[name], expected, rtol=1e-4, atol=3e-5)


# --------------------------------------------------------------- what others make of it


def test_transformers_loads_the_model_and_its_logits_are_ours(trained: Artifact) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(trained[0]).eval()
    ours = load_model(trained[0], CPU)
    tokens_BT = torch.randint(0, VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = theirs(tokens_BT).logits[:, :-1].flatten(0, 1)
        found = _hidden(ours, tokens_BT) @ output_weight(ours).T
    assert float((found - expected).abs().max()) < 1e-5


def test_transformers_generates_text_with_model_and_tokenizer(trained: Artifact) -> None:
    model = AutoModelForCausalLM.from_pretrained(trained[0])
    tokenizer = AutoTokenizer.from_pretrained(trained[0])
    prompt = tokenizer("abc", return_tensors="pt")
    output = model.generate(**prompt, max_new_tokens=8, do_sample=False)
    assert tokenizer.decode(output[0, :3]) == "abc"
    assert 3 < output.shape[1] <= 11


# --------------------------------------------------------------------------- evaluate


def test_every_corpus_is_evaluated_in_order(
    inputs: dict[str, Artifact], trained: Artifact, tmp_path: Path
) -> None:
    both = {**inputs, "model": trained}
    _, results = run_stage(evaluate.run, {}, both, tmp_path / "both")
    swapped = {"model": trained, "tokens/0": inputs["tokens/1"], "tokens/1": inputs["tokens/0"]}
    _, other = run_stage(evaluate.run, {}, swapped, tmp_path / "swapped")
    assert results["corpora"] == other["corpora"][::-1]
    assert results["corpora"][0] != results["corpora"][1]
    assert [corpus["tokens"] for corpus in results["corpora"]] == [12 * 15] * 2
    assert results["parameters"] == trained[1]["parameters"]


def test_training_improves_loss_and_accuracy_on_held_out_blocks(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    tokens = tokens_artifact(tmp_path / "tokens", blocks=200, validation=40)
    both = {"model": inputs["model"], "tokens/0": tokens}
    values = {**PARAMETERS, "epochs": 4, "learning_rate": 1e-2}
    model = run_stage(train.run, values, both, tmp_path / "train")
    _, before = run_stage(evaluate.run, {}, both, tmp_path / "before")
    _, after = run_stage(evaluate.run, {}, {**both, "model": model}, tmp_path / "after")
    assert after["corpora"][0]["loss"] < before["corpora"][0]["loss"] - 1.0
    assert after["corpora"][0]["accuracy"] > before["corpora"][0]["accuracy"] + 0.1


def test_max_tokens_takes_the_first_whole_blocks(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    _, results = run_stage(evaluate.run, {"max_tokens": 5 * BLOCK + 3}, inputs, tmp_path)
    assert [corpus["tokens"] for corpus in results["corpora"]] == [5 * 15] * 2


@pytest.mark.parametrize("make", [
    lambda directory: (tokens_artifact(directory, validation=0), {}),
    lambda directory: (tokens_artifact(directory), {"max_tokens": 3}),
])  # fmt: skip
def test_a_corpus_without_a_validation_block_is_named(
    inputs: dict[str, Artifact], tmp_path: Path,
    make: Callable[[Path], tuple[Artifact, dict[str, Any]]],
) -> None:  # fmt: skip
    tokens, values = make(tmp_path / "tokens")
    two = {"model": inputs["model"], "tokens/0": tokens}
    with pytest.raises(StageError, match=r"corpus 0 of the evaluation .* no whole block"):
        run_stage(evaluate.run, values, two, tmp_path / "run")


def test_an_evaluation_leaves_when_asked(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    stage = make_stage({}, inputs, tmp_path)
    stage._stop.set()
    with pytest.raises(Leave):
        evaluate.run(stage)


def test_training_reads_each_context_once_an_epoch(tmp_path: Path) -> None:
    path, _ = tokens_artifact(tmp_path / "t", blocks=10)
    stream = train.TrainingStream([path], BLOCK, 0)
    epoch = np.concatenate(list(stream.batches(0, 5, 2)))
    stored = np.load(path / "train.npy").astype(np.int64)
    assert sorted(map(tuple, epoch)) == sorted(map(tuple, stored))
