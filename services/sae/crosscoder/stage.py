"""Stage `crosscoder`: one dictionary of a parent and its child, and which features are in which.

N: vectors of a step, D: width at the hook point, E: 2 D, the parent's values and then the child's,
F: features.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from services.sae.activations import Cut, ModelSource, Rounds, Source, open_stream
from services.sae.crosscoder.loop import (
    CrosscoderState,
    Figures,
    Trainer,
    load_state,
    save_state,
)
from services.sae.crosscoder.scaling import Features, Scaling
from services.sae.crosscoder.weights import start_weights
from services.sae.start import activation_scale
from shared.data.token_stream import HeldOut, held_out
from shared.lm import hooks
from shared.lm.device import device
from shared.lm.load import load_model
from shared.stages.sae import CrosscoderParameters
from shared.stages.stage import NotFiniteError, Stage, StageError

CURVE_POINTS = 500  # about as many lines as curve.jsonl gets
FIGURES_SECONDS = 1.0  # between figures that are only for the progress display
MEASURE_TOKENS = 4096  # of one forward pass over held-out tokens
MEASURE_VALUES = 1 << 25  # tokens x features that are dense at a time: 128 MiB of float32

# What a random number is for; each purpose has a stream of numbers of its own.
INITIALISE, SHUFFLE = 0, 1


def run(stage: Stage) -> None:
    """Write crosscoder.safetensors, curve.jsonl and features.parquet; see CROSSCODER.

    Raises StageError for a layer that does not exist, models of different widths, fewer tokens than
    one step, activations that are zero or not finite, or a loss that is not finite.
    """
    parameters = CrosscoderParameters.model_validate(stage.parameters)
    if device().type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32: ten bits are plenty for gradients
    steps = count_steps(parameters)
    models = open_models(stage, parameters)
    stream = open_stream(stage, parameters.context, parameters.seed)
    sources = [
        ModelSource(model, stream, parameters.batch, parameters.hook, parameters.layer)
        for model in models
    ]
    source = PairSource(*sources)
    cut = Cut(parameters.context, parameters.batch, source.width)
    rounds = Rounds(source, cut, steps, [parameters.seed, SHUFFLE])
    training = Training(stage, parameters, rounds, steps)
    training.finish()
    training.export(stage.output)
    scaling = measure(stage, parameters, models, training)
    features = scaling.features()
    pq.write_table(features.table(), stage.output / "features.parquet")
    stage.results.update(results(scaling, features))
    stage.results.update(width=source.width // 2, vectors=steps * cut.vectors)


def results(scaling: Scaling, features: Features) -> dict[str, Any]:
    """What the held-out tokens say, as CROSSCODER names it."""
    parent, child = scaling.explained_variance()
    return {
        **features.counts(),
        "explained_variance_parent": parent,
        "explained_variance_child": child,
        "tokens": scaling.tokens,
    }


def count_steps(parameters: CrosscoderParameters) -> int:
    """Whole steps that fit into the tokens; StageError when not even one does."""
    steps = parameters.tokens // (parameters.batch * parameters.context)
    if steps == 0:
        raise StageError(
            f"tokens: {parameters.tokens} is less than one step of {parameters.batch} contexts "
            f"of {parameters.context} tokens"
        )
    return steps


def count_features(parameters: CrosscoderParameters, width: int) -> int:
    """Number of features: given as such, or as a multiple of one model's width.

    Raises StageError when there is neither, or when k is not below it.
    """
    if parameters.features is None and parameters.expansion is None:
        raise StageError("features: give a number of features or an expansion")
    features = parameters.features or round((parameters.expansion or 0) * width)
    if not 0 < parameters.k < features:
        raise StageError(f"k: {parameters.k} is not between 0 and the {features} features")
    return features


def open_models(stage: Stage, parameters: CrosscoderParameters) -> list[Any]:
    """Parent and child; StageError when one lacks the hook point or their widths differ."""
    try:
        models = [load_model(stage.input(name).path) for name in ("parent", "child")]
        parent, child = (hooks.width(m, parameters.hook, parameters.layer) for m in models)
    except ValueError as error:
        raise StageError(str(error)) from error
    if parent != child:
        raise StageError(
            f"parent and child must be equally wide at {parameters.hook} of layer "
            f"{parameters.layer} for a crosscoder: their widths are {parent} and {child}"
        )
    return models


class PairSource:
    """Activations of two models on the same tokens, side by side."""

    def __init__(self, parent: Source, child: Source) -> None:
        self._sources = (parent, child)
        self.width = parent.width + child.width

    def read(self, first: int, count: int) -> Tensor:
        """Activations [vectors, E] of these steps, in stream order."""
        return torch.cat([source.read(first, count) for source in self._sources], dim=1)


class Training:
    """One run of the training loop, from the start or from a checkpoint."""

    def __init__(
        self, stage: Stage, parameters: CrosscoderParameters, rounds: Rounds, steps: int
    ) -> None:
        self._stage = stage
        self._parameters = parameters
        self._rounds = rounds
        self._steps = steps
        self._every = -(-steps // CURVE_POINTS)
        self._last_figures = 0.0
        self.curve: list[str] = []
        if stage.resume is None:
            self.scales, self.state = self._start()
        else:
            self.state, self.scales, self.curve = load_state(stage.resume, device())
        batch = parameters.batch * parameters.context
        self._trainer = Trainer(self.state, parameters, steps, batch)

    @property
    def scale_E(self) -> Tensor:  # noqa: N802
        """The scale of each value [E], which is that of its model."""
        width = self.state.weights.width
        return torch.tensor(self.scales, device=device()).repeat_interleave(width)

    def _start(self) -> tuple[list[float], CrosscoderState]:
        round_VE = self._rounds.round(0)
        width = round_VE.shape[1] // 2
        scales = []
        for name, x_VD in zip(("parent", "child"), round_VE.chunk(2, dim=1), strict=True):
            try:
                scales.append(activation_scale(x_VD))
            except ValueError as error:
                raise StageError(f"{name}: {error}") from error
        features = count_features(self._parameters, width)
        seed = np.random.SeedSequence([self._parameters.seed, INITIALISE])
        number = int(seed.generate_state(1, np.uint64)[0] >> 1)
        scale_E = torch.tensor(scales, device=round_VE.device).repeat_interleave(width)
        x_NE = self._rounds.step(0) * scale_E
        weights = start_weights(features, x_NE, torch.Generator().manual_seed(number))
        return scales, CrosscoderState.start(weights)

    def finish(self) -> None:
        """Take the remaining steps; saves a checkpoint and leaves when the stage is asked to."""
        started, first = time.monotonic(), self.state.step
        scale_E = self.scale_E
        for number in range(first, self._steps):
            x_NE = self._rounds.step(number) * scale_E
            batch = self._trainer.step(x_NE)
            if self._figures_due(number + 1):
                figures = self._trainer.figures(batch, x_NE)
                self._record(figures)
                rate = (number + 1 - first) * len(x_NE) / (time.monotonic() - started)
                self._show(figures, rate)
            if self._stage.checkpoint_due():
                self.checkpoint()
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
            raise NotFiniteError(
                f"the crosscoder's loss is not finite at step {figures.step}: "
                "lower learning_rate or check the models"
            )
        # Which other steps have figures depends on the clock, so they stay out of the file.
        if figures.step % self._every == 0 or figures.step == self._steps:
            self.curve.append(json.dumps(asdict(figures)) + "\n")

    def _show(self, figures: Figures, rate: float) -> None:
        shown = ("loss", "l0", "dead_share", "explained_variance_parent")
        values = {name: getattr(figures, name) for name in (*shown, "explained_variance_child")}
        scalars = {name: value for name, value in values.items() if value is not None}
        self._stage.progress(figures.step, self._steps, "steps", vectors_per_second=rate, **scalars)

    def checkpoint(self) -> None:
        """Save the state."""
        self._stage.save_checkpoint(
            self.state.step, lambda to: save_state(to, self.state, self.scales, self.curve)
        )

    def export(self, directory: Path) -> None:
        """Write the crosscoder and the curve; StageError when a weight is not finite."""
        weights = self.state.weights
        if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.tensors()):
            raise NotFiniteError("the crosscoder's weights are not finite: lower learning_rate")
        weights.save(directory, self.state.threshold, torch.tensor(self.scales))
        (directory / "curve.jsonl").write_text("".join(self.curve), encoding="utf-8")


def measure(
    stage: Stage, parameters: CrosscoderParameters, models: list[Any], training: Training
) -> Scaling:
    """Run both models over the held-out tokens; StageError when there is no whole context."""
    corpora = [corpus.path for corpus in stage.group("tokens")]
    stream: HeldOut = held_out(corpora, parameters.scaling_tokens, parameters.context)
    if stream.tokens == 0:
        raise StageError(f"context: nothing held out has {parameters.context} tokens")
    weights, scale_E = training.state.weights, training.scale_E
    scaling = Scaling(weights, training.state.threshold)
    at_once = min(MEASURE_TOKENS, MEASURE_VALUES // len(weights.encoder_bias_F))
    contexts = max(1, at_once // parameters.context)
    for start in range(0, len(stream.tokens_CT), contexts):
        if stage.stopping:
            training.checkpoint()  # so that no training step is repeated
            stage.leave_if_asked()
        tokens_BT = torch.from_numpy(stream.tokens_CT[start : start + contexts].astype(np.int64))
        x_NE = torch.cat(
            [
                hooks.activations(model, tokens_BT, parameters.hook, parameters.layer).flatten(0, 1)
                for model in models
            ],
            dim=1,
        )
        scaling.add(x_NE * scale_E)
        done = start * parameters.context + tokens_BT.numel()
        stage.progress(done, stream.tokens, "tokens")
    return scaling
