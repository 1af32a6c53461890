"""Stage `checkpoint`: the model after one step of a training run, as a model of its own."""

from __future__ import annotations

import shutil

from services.trainer.run_checkpoints import checkpoint_name
from shared.stages.stage import Stage, StageError
from shared.stages.trainer import CheckpointParameters


def run(stage: Stage) -> None:
    """Copy the model out of the input `train`; results: parameters and steps.

    Raises StageError when the run kept no model after that step.
    """
    step = CheckpointParameters.model_validate(stage.parameters).step
    train = stage.input("train")
    directory = train.path / checkpoint_name(step)
    if not directory.is_dir():
        raise StageError(f"step: the training run kept no model after step {step}")
    for file in sorted(directory.iterdir()):
        shutil.copyfile(file, stage.output / file.name)
    stage.results.update(parameters=train.results["parameters"], steps=step)
