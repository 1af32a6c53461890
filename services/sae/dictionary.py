"""Stage `dictionary`: train a dictionary on one model's activations and export it.

N: vectors of a step, D: width at the hook point, F: features.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from services.sae.checkpoint import load_state, save_state
from services.sae.source import Cut, ModelSource, Rounds, ShardSource, Source, open_stream
from services.sae.start import activation_scale, start_weights
from services.sae.train import Figures, State, Trainer
from services.sae.weights import fold_scale
from shared.lm.device import device
from shared.lm.load import load_model
from shared.parameters import DictionaryParameters
from shared.stage import Stage, StageError

CURVE_POINTS = 500  # about as many lines as curve.jsonl gets
FIGURES_SECONDS = 1.0  # between figures that are only for the progress display

# What a random number is for; each purpose has a stream of numbers of its own.
INITIALISE, ORDER, SHUFFLE = 0, 1, 2


def run(stage: Stage) -> None:
    """Write cfg.json, sae_weights.safetensors and curve.jsonl; see DictionaryParameters.

    Raises StageError for a layer that does not exist, fewer tokens than one step, activations that
    are zero or not finite, or a loss that is not finite.
    """
    started = time.monotonic()
    parameters = DictionaryParameters.model_validate(stage.parameters)
    if device().type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32: ten bits are plenty for gradients
    try:
        source = open_source(stage, parameters)
    except ValueError as error:
        raise StageError(str(error)) from error
    steps = count_steps(parameters)
    cut = Cut(parameters.context, parameters.batch, source.width)
    rounds = Rounds(source, cut, steps, [parameters.seed, parameters.replicate, SHUFFLE])
    training = Training(stage, parameters, rounds, steps)
    first = training.state.step
    training.finish()
    seconds = time.monotonic() - started
    training.export(stage.output)
    vectors = steps * cut.vectors
    taken = (steps - first) * cut.vectors
    stage.results.update(
        features=len(training.state.weights.encoder_bias_F),
        width=source.width,
        scale=training.scale,
        vectors=vectors,
        # Of the attempt that finished: the vectors before a resume took their own time.
        seconds_per_million=seconds / taken * 1e6 if taken else None,
    )


def count_steps(parameters: DictionaryParameters) -> int:
    """Whole steps that fit into the tokens; StageError when not even one does."""
    steps = parameters.tokens // (parameters.batch * parameters.context)
    if steps == 0:
        raise StageError(
            f"tokens: {parameters.tokens} is less than one step of {parameters.batch} contexts "
            f"of {parameters.context} tokens"
        )
    return steps


def seed_of(*parts: int) -> int:
    """One number from several, well mixed; numbers that differ anywhere give other ones."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def initial_seed(parameters: DictionaryParameters, model_key: str) -> int:
    """Seed of the starting weights.

    With "independent" it depends on the model too: equal starts make features of two models match
    that otherwise would not, which would pass for persistence. "shared" is the paper's way.
    """
    parts = [INITIALISE, parameters.seed, parameters.replicate]
    if parameters.init == "independent":
        digest = hashlib.sha256(model_key.encode()).digest()
        parts.append(int.from_bytes(digest[:8], "big"))
    return seed_of(*parts)


def open_source(stage: Stage, parameters: DictionaryParameters) -> Source:
    """Shards when the stage has a harvest, else the model itself.

    The first replicate reads both in the same order. The others read the corpora in another order,
    or begin at another place of the harvest.
    """
    vectors = parameters.batch * parameters.context
    order = seed_of(ORDER, parameters.seed, parameters.replicate)
    if "harvest" in stage.inputs:
        shards = sorted(stage.input("harvest").path.glob("activations-*.safetensors"))
        source = ShardSource(shards, vectors, device())
        begin = order % source.steps if parameters.replicate else 0
        return ShardSource(shards, vectors, device(), begin)
    seed = order if parameters.replicate else parameters.seed
    stream = open_stream(stage, parameters.context, seed)
    model = load_model(stage.input("model").path)
    return ModelSource(model, stream, parameters.batch, parameters.hook, parameters.layer)


class Training:
    """One run of the training loop, from the start or from a checkpoint."""

    def __init__(
        self, stage: Stage, parameters: DictionaryParameters, rounds: Rounds, steps: int
    ) -> None:
        self._stage = stage
        self._parameters = parameters
        self._rounds = rounds
        self._steps = steps
        self._every = -(-steps // CURVE_POINTS)
        self._last_figures = 0.0
        self.curve: list[str] = []
        if stage.resume is None:
            self.scale, self.state = self._start()
        else:
            self.state, self.scale, self.curve = load_state(stage.resume, device())
        self._trainer = Trainer(self.state, parameters, steps)

    def _start(self) -> tuple[float, State]:
        parameters = self._parameters
        try:
            scale = activation_scale(self._rounds.round(0))
        except ValueError as error:
            raise StageError(str(error)) from error
        x_ND = self._rounds.step(0) * scale
        seed = initial_seed(parameters, self._stage.input("model").key)
        generator = torch.Generator().manual_seed(seed)
        features = count_features(parameters, x_ND.shape[1])
        return scale, State.start(start_weights(features, x_ND, generator))

    def finish(self) -> None:
        """Take the steps that are left; leaves with a checkpoint when the stage is asked to."""
        started, first = time.monotonic(), self.state.step
        for number in range(first, self._steps):
            x_ND = self._rounds.step(number) * self.scale
            batch = self._trainer.step(x_ND)
            if self._figures_due(number + 1):
                figures = self._trainer.figures(batch, x_ND)
                self._record(figures)
                rate = (number + 1 - first) * len(x_ND) / (time.monotonic() - started)
                self._show(figures, rate)
            if self._stage.checkpoint_due():
                self._stage.save_checkpoint(number + 1, self._write)
                self._stage.leave_if_asked()

    def _figures_due(self, step: int) -> bool:
        now = time.monotonic()
        curve = step % self._every == 0 or step == self._steps
        if curve or now - self._last_figures >= FIGURES_SECONDS:
            self._last_figures = now
            return True
        return False

    def _record(self, figures: Figures) -> None:
        if not math.isfinite(figures.loss):
            raise StageError(
                f"the dictionary's loss is not finite at step {figures.step}: "
                "lower learning_rate or check the model"
            )
        # Which other steps have figures depends on the clock, so they stay out of the file.
        if figures.step % self._every == 0 or figures.step == self._steps:
            self.curve.append(json.dumps(asdict(figures)) + "\n")

    def _show(self, figures: Figures, rate: float) -> None:
        scalars = {
            "loss": figures.loss,
            "l0": figures.l0,
            "dead_share": figures.dead_share,
            "vectors_per_second": rate,
        }
        if figures.explained_variance is not None:
            scalars["explained_variance"] = figures.explained_variance
        self._stage.progress(figures.step, self._steps, "steps", **scalars)

    def _write(self, directory: Path) -> None:
        save_state(directory, self.state, self.scale, self.curve)

    def export(self, directory: Path) -> None:
        """Write the dictionary, with the scale folded in, and the curve.

        Raises StageError when a weight is not finite.
        """
        if not all(_finite(tensor) for tensor in self.state.weights.tensors()):
            raise StageError("the dictionary's weights are not finite: lower learning_rate")
        parameters = self._parameters
        fold_scale(self.state.weights, self.scale, parameters.hook, parameters.layer).save(
            directory
        )
        (directory / "curve.jsonl").write_text("".join(self.curve), encoding="utf-8")


def count_features(parameters: DictionaryParameters, width: int) -> int:
    """Number of features: given as such, or as a multiple of the width."""
    if parameters.features is not None:
        return parameters.features
    if parameters.expansion is None:
        raise StageError("features: give a number of features or an expansion")
    return round(parameters.expansion * width)


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
