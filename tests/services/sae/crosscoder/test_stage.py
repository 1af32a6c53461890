"""The `crosscoder` stage from parameters to files: repeatable, resumable, honest about failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from services.sae.crosscoder.loop import Trainer
from services.sae.crosscoder.scaling import KINDS, Scaling
from services.sae.crosscoder.stage import run
from shared.data.token_stream import held_out
from shared.lm.hooks import activations
from shared.lm.load import load_model
from shared.stages.stage import Leave, StageError
from tests.support.crosscoders import crosscoder_parameters
from tests.support.dictionaries import CONTEXT, WIDTH, packed_tokens, tiny_model
from tests.support.stages import make_stage, run_stage

FILES = ("crosscoder.safetensors", "curve.jsonl", "features.parquet")
Inputs = dict[str, tuple[Path, dict[str, Any]]]


def child_of(parent: Path, directory: Path) -> Path:
    """The parent with slightly other weights."""
    model = load_model(parent, torch.device("cpu"))
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    directory = tmp_path_factory.mktemp("inputs")
    parent = tiny_model(directory / "parent")
    return {
        "parent": (parent, {}),
        "child": (child_of(parent, directory / "child"), {}),
        "tokens/0": (packed_tokens(directory / "a", seed=1), {}),
        "tokens/1": (packed_tokens(directory / "b", seed=2), {}),
    }


def parameters(**changes: Any) -> dict[str, Any]:
    return crosscoder_parameters(**changes).model_dump()


def contents(directory: Path) -> list[bytes]:
    return [(directory / file).read_bytes() for file in FILES]


def test_the_stage_writes_its_files_and_its_results(inputs: Inputs, tmp_path: Path) -> None:
    output, results = run_stage(run, parameters(), inputs, tmp_path)
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    saved = load_file(output / "crosscoder.safetensors")
    assert {name: tuple(tensor.shape) for name, tensor in saved.items()} == {
        "encoder_2DF": (2, WIDTH, 64),
        "encoder_bias_F": (64,),
        "decoder_2FD": (2, 64, WIDTH),
        "decoder_bias_2D": (2, WIDTH),
        "threshold": (),
        "scale_2": (2,),
    }
    rows = pq.read_table(output / "features.parquet").to_pylist()
    assert [row["feature"] for row in rows] == list(range(64))
    kinds = [row["kind"] for row in rows]
    assert results["kinds"] == {kind: kinds.count(kind) for kind in KINDS}
    assert results["l0"] == pytest.approx(sum(row["density"] for row in rows))
    assert results["dead_share"] == kinds.count("dead") / 64
    assert (results["features"], results["width"]) == (64, WIDTH)
    assert (results["vectors"], results["tokens"]) == (40 * 8 * CONTEXT, 400 // 2 // 16 * 16 * 2)
    lines = [json.loads(line) for line in (output / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    assert all(line["l0"] == 4 for line in lines)


def test_the_results_are_those_of_the_exported_file_on_held_out_tokens(
    inputs: Inputs, tmp_path: Path
) -> None:
    """Encode and decode by the formula of the file alone, in float64 on raw activations."""
    changes = {"tokens": 300 * 8 * CONTEXT, "learning_rate": 3e-3, "k": 8}
    output, results = run_stage(run, parameters(**changes), inputs, tmp_path)
    saved = {k: v.double() for k, v in load_file(output / "crosscoder.safetensors").items()}
    directories = [inputs[name][0] for name in ("tokens/0", "tokens/1")]
    tokens = torch.from_numpy(held_out(directories, 400, CONTEXT).tokens_CT.astype(np.int64))
    x_2ND = [
        activations(load_model(inputs[name][0]), tokens, "mlp_post", 1).flatten(0, 1).double()
        for name in ("parent", "child")
    ]
    z_2ND = [x_2ND[m] * saved["scale_2"][m] for m in (0, 1)]
    pre_NF = saved["encoder_bias_F"] + sum(
        (z_2ND[m] - saved["decoder_bias_2D"][m]) @ saved["encoder_2DF"][m] for m in (0, 1)
    )
    f_NF = torch.relu(pre_NF)
    f_NF = f_NF * (f_NF * saved["decoder_2FD"].norm(dim=2).sum(0) > saved["threshold"])
    assert results["l0"] == pytest.approx(float((f_NF > 0).double().sum(1).mean()), rel=1e-3)
    for m, name in enumerate(("parent", "child")):
        made_ND = f_NF @ saved["decoder_2FD"][m] + saved["decoder_bias_2D"][m]
        error = (made_ND - z_2ND[m]).square().sum()
        expected = 1 - float(error / (z_2ND[m] - z_2ND[m].mean(0)).square().sum())
        assert results[f"explained_variance_{name}"] == pytest.approx(expected, abs=1e-3)
        assert expected > 0.5
    assert results["l0"] == pytest.approx(8, rel=0.25)


def test_the_same_key_gives_the_same_bytes(inputs: Inputs, tmp_path: Path) -> None:
    first, _ = run_stage(run, parameters(), inputs, tmp_path / "1")
    second, _ = run_stage(run, parameters(), inputs, tmp_path / "2")
    assert contents(first) == contents(second)


@pytest.mark.parametrize("leave_after", [5, 23])
def test_a_resumed_run_ends_with_the_same_bytes(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave_after: int
) -> None:
    """Step 5 lies within the first round of activations, step 23 within the second."""
    settings = parameters(learning_rate=0.02, dead_after_steps=2)
    whole, _ = run_stage(run, settings, inputs, tmp_path / "whole")
    stage = make_stage(settings, inputs, tmp_path / "left")
    taken: list[int] = []
    original = Trainer.step

    def step(self: Trainer, x_NE: Tensor) -> Any:
        result = original(self, x_NE)
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
    lines = (whole / "curve.jsonl").read_text().splitlines()
    assert any(json.loads(line)["dead_share"] > 0 for line in lines)


def test_leaving_while_it_measures_takes_no_step_of_the_training_again(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run_stage(run, parameters(), inputs, tmp_path / "whole")
    stage = make_stage(parameters(), inputs, tmp_path / "left")
    monkeypatch.setattr("services.sae.crosscoder.stage.MEASURE_TOKENS", CONTEXT)
    add = Scaling.add
    monkeypatch.setattr(Scaling, "add", lambda self, x_NE: (add(self, x_NE), stage._stop.set())[0])
    with pytest.raises(Leave):
        run(stage)
    monkeypatch.undo()
    monkeypatch.setattr(Trainer, "step", None)
    resumed, _ = run_stage(
        run, parameters(), inputs, tmp_path / "resumed", resume=stage.checkpoints / "40"
    )
    assert contents(resumed) == contents(whole)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"layer": 5}, "layer 5 is out of range: the model has 2 layers"),
        ({"tokens": 100}, "tokens: 100 is less than one step of 8 contexts of 16 tokens"),
        ({"context": 5000, "tokens": 10**6}, "hold no whole context of 5000 tokens"),
        ({"features": None}, "features: give a number of features or an expansion"),
        ({"k": 64}, "k: 64 is not between 0 and the 64 features"),
        ({"learning_rate": 1e30}, "not finite.*lower learning_rate"),
    ],
)
def test_a_crosscoder_that_cannot_be_trained_says_which_parameter_is_wrong(
    inputs: Inputs, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(StageError, match=sentence):
        run_stage(run, parameters(**changes), inputs, tmp_path)


def test_models_of_different_widths_are_refused(inputs: Inputs, tmp_path: Path) -> None:
    model = load_model(inputs["parent"][0])
    config = model.config
    config.intermediate_size = WIDTH + 8
    type(model)(config).save_pretrained(tmp_path / "wide")
    wide = {**inputs, "child": (tmp_path / "wide", {})}
    with pytest.raises(StageError, match=f"equally wide.*{WIDTH} and {WIDTH + 8}"):
        run_stage(run, parameters(), wide, tmp_path / "stage")


def test_the_expansion_counts_from_one_models_width(inputs: Inputs, tmp_path: Path) -> None:
    changes = {"features": None, "expansion": 1.5, "tokens": 8 * CONTEXT}
    _, results = run_stage(run, parameters(**changes), inputs, tmp_path)
    assert results["features"] == 72
