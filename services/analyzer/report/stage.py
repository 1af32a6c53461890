"""The report stage: results.json, report.html, CSV tables and PNG figures of an experiment."""

from __future__ import annotations

import json

from services.analyzer.report import images
from services.analyzer.report.inputs.inputs import read_inputs
from services.analyzer.report.page import page
from services.analyzer.report.results import results
from services.analyzer.report.tables.registry import write as write_tables
from shared.stages.report import ReportParameters
from shared.stages.stage import Leave, Stage

STEPS = 5


def _step(stage: Stage, done: int) -> None:
    stage.progress(done, STEPS, "steps")
    if stage.stopping:
        raise Leave


def run(stage: Stage) -> None:
    """Write the four kinds of files; see `results` for what the numbers mean."""
    parameters = ReportParameters.model_validate(stage.parameters)
    inputs = read_inputs(parameters, stage.inputs)
    _step(stage, 1)
    values = results.assemble(inputs)
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (stage.output / "results.json").write_text(text, "utf-8")
    _step(stage, 2)
    write_tables(values, stage.inputs, stage.output / "csv")
    _step(stage, 3)
    images.write(values, stage.output / "png")
    _step(stage, 4)
    (stage.output / "report.html").write_text(page.render(values, text), "utf-8")
    _step(stage, 5)
    stage.results.update(
        models=len(values["models"]),
        edges=len(values["edges"]),
        universal=len(values["universal"]),
        sweeps=len(values["sweeps"]),
    )
