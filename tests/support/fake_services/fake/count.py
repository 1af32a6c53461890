"""A slow stage with checkpoints."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from shared.stages.stage import Stage


def run(stage: Stage) -> None:
    """Counts to `to`, a checkpoint at each number, slowly."""
    number = int((stage.resume / "number").read_text()) if stage.resume else 0
    stage.results["started_from"] = number
    while number < stage.parameters["to"]:
        time.sleep(stage.parameters["pause"])
        number += 1
        stage.progress(number, stage.parameters["to"], "numbers", loss=1 / number)
        if stage.checkpoint_due():
            stage.save_checkpoint(number, partial(_note, number))
            stage.leave_if_asked()
    (stage.output / "number").write_text(str(number))


def _note(number: int, path: Path) -> None:
    (path / "number").write_text(str(number))
