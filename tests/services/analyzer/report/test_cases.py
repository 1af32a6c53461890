"""Reports of families that lack something, or whose controls say that shares say little."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.analyzer.report.stage import run
from shared.stages.stage import Leave
from tests.support.report.inputs import ALONE, Family, build
from tests.support.report.output import make, words_on
from tests.support.stages import make_stage, run_stage


def test_a_spec_with_only_models_gets_a_report(tmp_path: Path) -> None:
    family = Family(models=ALONE, trackings=(), sweep=False, dictionaries=False)
    made = make(tmp_path, family)
    words = words_on(made)
    assert "The spec asks for no tracking" in words
    assert {path.name for path in (made / "png").iterdir()} == {"figure1_lineage.png"}
    assert {path.name for path in (made / "csv").iterdir()} == {"models.csv"}


def test_sections_that_the_spec_leaves_out_are_not_needed(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    family = Family(models=ALONE, trackings=(), sweep=False, dictionaries=False)
    parameters, inputs = build(tmp_path / "inputs", family)
    for name in ("sweeps", "dictionaries", "tracking"):
        del parameters["spec"][name]
    made = run_stage(run, parameters, inputs, tmp_path)[0]
    assert (made / "report.html").exists()


def test_a_shared_start_of_the_dictionaries_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    parameters, inputs = build(tmp_path / "inputs")
    parameters["spec"]["dictionaries"]["mlp"]["init"] = "shared"
    made = run_stage(run, parameters, inputs, tmp_path)[0]
    words = words_on(made)
    assert "start from the same random weights" in words


def test_a_ceiling_that_is_no_better_than_chance_is_said_to_say_nothing(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    parameters, inputs = build(tmp_path / "inputs")
    inputs["ceiling/main/base"][1]["share"] = 0.005
    made = run_stage(run, parameters, inputs, tmp_path)[0]
    words = words_on(made)
    assert "is no better than chance" in words
    assert "is not clearly above that, so the share says nothing about the models" in words


def test_warm_starts_are_told_with_their_own_controls(tmp_path: Path) -> None:
    made = make(tmp_path, Family(init="parent"))
    words = words_on(made)
    assert "12.0 % with one started from it on an unrelated model" in words
    assert "start from those of their parents" in words
    assert "two dictionaries of base itself share" not in words


def test_missing_controls_and_missing_features_are_said_openly(tmp_path: Path) -> None:
    family = Family(
        universal=False, failing=False, seeds=(0,), null=False, trackings=("main", "second")
    )
    made = make(tmp_path, family)
    words = words_on(made)
    assert "No feature is universal" in words
    assert "without a second dictionary seed there is no ceiling" in words
    assert "8 edges have no ceiling" in words
    pictures = {path.name for path in (made / "png").iterdir()}
    assert {"figure2_flow.png", "figure2_flow_second.png"} <= pictures
    assert not any(name.startswith(("figure3", "figure4")) for name in pictures)


def test_a_stage_that_is_asked_to_stop_leaves(tmp_path: Path) -> None:
    (tmp_path / "inputs").mkdir()
    parameters, inputs = build(tmp_path / "inputs")
    stage = make_stage(parameters, inputs, tmp_path)
    stage._stop.set()
    with pytest.raises(Leave):
        run(stage)
    assert not (stage.output / "report.html").exists()
