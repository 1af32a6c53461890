"""Helpers that several tests share."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shared.stages.explainer_settings import ExplainerSettings
from shared.stages.stage import Input, Stage


def run_stage(
    function: Callable[[Stage], None],
    parameters: Mapping[str, Any],
    inputs: Mapping[str, tuple[Path, Mapping[str, Any]]],
    directory: Path,
    uploads: Mapping[str, Path] | None = None,
    resume: Path | None = None,
    explainer: ExplainerSettings | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Run a stage function in this process; returns its output directory and its results."""
    stage = make_stage(parameters, inputs, directory, uploads, resume, explainer)
    function(stage)
    json.dumps(stage.results, allow_nan=False)
    return stage.output, stage.results


def make_stage(
    parameters: Mapping[str, Any],
    inputs: Mapping[str, tuple[Path, Mapping[str, Any]]],
    directory: Path,
    uploads: Mapping[str, Path] | None = None,
    resume: Path | None = None,
    explainer: ExplainerSettings | None = None,
) -> Stage:
    """A stage over fresh directories, with its events kept in memory."""
    for name in ("output", "scratch", "checkpoints"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    return Stage(
        key="0" * 64,
        kind="test",
        parameters=parameters,
        inputs={name: Input(name, path, results) for name, (path, results) in inputs.items()},
        output=directory / "output",
        scratch=directory / "scratch",
        checkpoints=directory / "checkpoints",
        events=io.StringIO(),
        uploads=dict(uploads or {}),
        resume=resume,
        explainer=explainer or ExplainerSettings(),
    )
