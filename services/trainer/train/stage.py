"""Stage `train`: pre-training or fine-tuning, from one directory of weights to the next."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from services.trainer.run_checkpoints import check_steps, checkpoint_name, link_checkpoints
from services.trainer.train.optimiser import (
    clip_gradients,
    learning_rate,
    make_optimiser,
    set_learning_rate,
)
from services.trainer.train.resume import State, load_state, save_state
from shared.data.token_stream import TrainingStream
from shared.lm.device import keep_memory, resolve
from shared.lm.load import load_model
from shared.lm.loss import next_token_loss, output_weight
from shared.lm.peak import peak_flops, train_flops
from shared.lm.save import save_model
from shared.stages.stage import NotFiniteError, Stage, StageError
from shared.stages.trainer import TrainParameters

CURVE_ROWS = 500  # rows of curve.jsonl at most; each is the mean of the steps since the last


def run(stage: Stage) -> None:
    """Write the trained model, those of `checkpoints` and curve.jsonl (see TRAIN).

    Results: parameters, steps, tokens, loss, precision. `loss` is the mean training loss of the
    last row of the curve.
    """
    parameters = TrainParameters.model_validate(stage.parameters)
    stream = TrainingStream(
        [tokens.path for tokens in stage.group("tokens")], parameters.block, parameters.seed
    )
    steps = count_steps(parameters, stream.contexts)
    check_steps(parameters.checkpoints, steps)
    keep_memory()
    source = stage.input("model").path
    model = load_model(source)
    loop = Loop(stage, parameters, model, stream, steps)
    loop.run()
    save_model(model.eval(), source, stage.output)
    write_curve(stage.output / "curve.jsonl", loop.state.curve)
    stage.results.update(
        parameters=sum(weight.numel() for weight in model.parameters()),
        steps=steps,
        tokens=steps * parameters.batch * parameters.block,
        loss=loop.state.curve[-1]["loss"],
        precision=loop.precision,
    )


def count_steps(parameters: TrainParameters, contexts: int) -> int:
    """Optimiser steps of the run; StageError when there is no data or no step to take."""
    if contexts == 0:
        raise StageError(
            f"the corpora hold no whole block of {parameters.block} tokens to train on"
        )
    steps = math.ceil(parameters.epochs * contexts / parameters.batch)
    if parameters.max_steps is not None:
        steps = min(steps, parameters.max_steps)
    if steps < 1:
        raise StageError("training takes no step: epochs and max_steps must be above zero")
    return steps


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write one JSON object a line: step, loss, learning_rate, gradient_norm, tokens."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


class Loop:
    """The steps of one run, from wherever its state has got to."""

    def __init__(
        self,
        stage: Stage,
        parameters: TrainParameters,
        model: Any,
        stream: TrainingStream,
        steps: int,
    ) -> None:
        self.stage, self.parameters, self.model = stage, parameters, model
        self.stream, self.steps = stream, steps
        self.precision = resolve(parameters.precision, model.device, output_weight(model).shape[1])
        self.optimiser = make_optimiser(model, parameters)
        self.state = State()
        self._every = max(1, steps // CURVE_ROWS)
        # Share of the device's peak that one token a second amounts to.
        self._share = train_flops(model, parameters.block) / peak_flops(
            model.device.type, self.precision
        )
        self._started = (0, time.monotonic())  # steps and seconds, for the speed of this attempt

    def run(self) -> None:
        """Train to the last step; raises Leave after a checkpoint when asked to stop."""
        torch.manual_seed(self.parameters.seed)
        if self.stage.resume is not None:
            self.state = load_state(self.stage.resume, self.model, self.optimiser)
            link_checkpoints(self.stage.resume, self.stage.output)
        self._started = (self.state.step, time.monotonic())
        self.model.train()
        while self.state.step < self.steps:
            self._step()
            if self.state.step in self.parameters.checkpoints:
                self._write_model()
            if self.stage.checkpoint_due():
                self.stage.save_checkpoint(self.state.step, self._save)
                self.stage.leave_if_asked()

    def _save(self, directory: Path) -> None:
        save_state(directory, self.model, self.optimiser, self.state)
        link_checkpoints(self.stage.output, directory)

    def _write_model(self) -> None:
        """Write the model as it is now, in a directory of its own."""
        directory = self.stage.output / checkpoint_name(self.state.step)
        directory.mkdir(exist_ok=True)
        save_model(self.model, self.stage.input("model").path, directory)

    def _step(self) -> None:
        step, batch = self.state.step, self.parameters.batch
        rate = learning_rate(self.parameters, step, self.steps)
        tokens_BT = torch.from_numpy(self.stream.batch(step * batch, batch))
        loss = next_token_loss(self.model, tokens_BT, self.precision)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_gradients(self.model, self.parameters.gradient_clip)
        value = loss.item()
        self._check(value, norm, rate)
        set_learning_rate(self.optimiser, rate)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.state.step += 1
        self.state.recent.append(value)
        self._report(rate, norm)

    def _check(self, loss: float, norm: float, rate: float) -> None:
        if math.isfinite(loss) and math.isfinite(norm):
            return
        what = "loss" if not math.isfinite(loss) else "gradient"
        raise NotFiniteError(
            f"the {what} became {loss if what == 'loss' else norm} at step {self.state.step + 1} "
            f"of {self.steps} with a learning rate of {rate:.3g}: try a lower learning_rate, more "
            "warmup_steps or precision: float32"
        )

    def _report(self, rate: float, norm: float) -> None:
        state, size = self.state, self.parameters.batch * self.parameters.block
        loss = fmean(state.recent)
        first, since = self._started
        speed = (state.step - first) * size / max(1e-9, time.monotonic() - since)
        self.stage.progress(
            state.step,
            self.steps,
            "steps",
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
            tokens_per_second=speed,
            mfu=speed * self._share,
        )
        if state.step % self._every == 0 or state.step == self.steps:
            state.curve.append(
                {
                    "step": state.step,
                    "loss": loss,
                    "learning_rate": rate,
                    "gradient_norm": norm,
                    "tokens": state.step * size,
                }
            )
            state.recent.clear()
