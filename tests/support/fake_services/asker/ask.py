"""A stage that asks a language model about planted features."""

from __future__ import annotations

import json
import os
from pathlib import Path

from services.analyzer.explain.language_model import ask, endpoint
from shared.stages.explain import LanguageModel
from shared.stages.stage import Stage
from tests.support.explanations.planted_features import planted


def run(stage: Stage) -> None:
    """What is answered, as a file; `pid_file` tells a test whom to kill."""
    Path(stage.parameters["pid_file"]).write_text(f"{os.getpid()} {stage.checkpoints.parent}")
    endpoint.PATIENCE = stage.parameters["patience"]
    model = LanguageModel.model_validate(stage.parameters["language_model"])
    answers = ask(stage, model, planted(stage.parameters["features"]))
    rows = [
        {
            "explanation": one.explanation,
            "predicted": None if one.predicted_WK is None else one.predicted_WK.tolist(),
            "failure": one.failure,
        }
        for one in answers.features
    ]
    (stage.output / "answers.json").write_text(json.dumps(rows))
    stage.results |= {
        "requests": answers.requests,
        "tokens": answers.tokens,
        "covered": answers.covered,
    }
