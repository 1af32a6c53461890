"""The sweep: its ends are the parents, its points are merges, and it can be interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.merger import merge, sweep
from services.trainer import evaluate
from shared.stages.stage import Leave, StageError
from tests.support.language_models import BLOCK, Artifact, model_artifact, tokens_artifact
from tests.support.stages import make_stage, run_stage


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    directory = tmp_path_factory.mktemp("sweep")
    return {
        "at_zero": model_artifact(directory / "zero", seed=1),
        "at_one": model_artifact(directory / "one", seed=2),
        "tokens/0": tokens_artifact(directory / "t0", seed=0, validation=20),
        "tokens/1": tokens_artifact(directory / "t1", seed=1, validation=7),
    }


@pytest.fixture(scope="module")
def swept(inputs: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_stage(sweep.run, {"steps": 5}, inputs, tmp_path_factory.mktemp("run"))[1]


def evaluated(model: Artifact, inputs: dict[str, Artifact], directory: Path) -> list[Any]:
    """What the evaluate stage says of a model on the sweep's corpora."""
    found = {"model": model, "tokens/0": inputs["tokens/0"], "tokens/1": inputs["tokens/1"]}
    corpora: list[Any] = run_stage(evaluate.run, {}, found, directory)[1]["corpora"]
    return corpora


def test_the_ends_equal_the_evaluations_of_the_parents_exactly(
    swept: dict[str, Any], inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    zero = evaluated(inputs["at_zero"], inputs, tmp_path / "zero")
    one = evaluated(inputs["at_one"], inputs, tmp_path / "one")
    assert swept["points"][0] == {"t": 0.0, "corpora": zero}
    assert swept["points"][-1] == {"t": 1.0, "corpora": one}
    assert zero != one


def test_a_point_equals_the_evaluation_of_the_merge_at_its_t(
    swept: dict[str, Any], inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    parents = {name: inputs[name] for name in ("at_zero", "at_one")}
    merged = run_stage(merge.run, {"t": 0.25}, parents, tmp_path / "merge")
    expected = evaluated(merged, inputs, tmp_path / "evaluate")
    assert swept["points"][1] == {"t": 0.25, "corpora": expected}


@pytest.mark.parametrize("steps", [2, 3, 7, 21, 50])
def test_t_runs_from_zero_to_one_exactly(steps: int) -> None:
    ts = sweep.points(steps)
    assert (ts[0], ts[-1], len(ts)) == (0.0, 1.0, steps)
    assert ts == sorted(set(ts))


@pytest.mark.parametrize("steps", [1, 0, -3])
def test_a_sweep_of_less_than_its_ends_is_refused(steps: int) -> None:
    with pytest.raises(StageError, match=f"steps is {steps}"):
        sweep.points(steps)


def test_max_tokens_caps_every_corpus(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    values = {"steps": 2, "max_tokens": 5 * BLOCK}
    _, results = run_stage(sweep.run, values, inputs, tmp_path)
    tokens = [corpus["tokens"] for corpus in results["points"][0]["corpora"]]
    assert tokens == [5 * (BLOCK - 1)] * 2


def test_a_sweep_interrupted_within_a_point_ends_with_the_same_points(
    swept: dict[str, Any], inputs: dict[str, Artifact], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    stage = make_stage({"steps": 5}, inputs, tmp_path / "first")
    original = stage.progress
    calls = 0

    def progress(*args: Any, **scalars: float) -> None:
        nonlocal calls
        calls += 1
        if calls == 8:  # three batches a point: in the middle of the third
            stage._stop.set()
        original(*args, **scalars)

    monkeypatch.setattr(stage, "progress", progress)
    with pytest.raises(Leave):
        sweep.run(stage)
    (checkpoint,) = stage.checkpoints.iterdir()
    assert checkpoint.name == "2"
    _, results = run_stage(sweep.run, {"steps": 5}, inputs, tmp_path / "rest", resume=checkpoint)
    assert results == swept


def test_parents_that_do_not_fit_are_refused_before_anything_is_computed(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    wider = model_artifact(tmp_path / "wider", mlp=64)
    with pytest.raises(StageError, match="has the shape"):
        run_stage(sweep.run, {"steps": 3}, {**inputs, "at_one": wider}, tmp_path / "run")


def test_a_corpus_without_validation_is_named(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    empty = tokens_artifact(tmp_path / "empty", validation=0)
    with pytest.raises(StageError, match="corpus 1 of the sweep cannot be used"):
        run_stage(sweep.run, {"steps": 2}, {**inputs, "tokens/1": empty}, tmp_path / "run")
