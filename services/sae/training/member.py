"""One dictionary in training, from starting weights to files, whatever feeds it activations.

N: vectors of a step, D: width at the hook point, F: features.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from services.sae.training.loop import Figures, State, Trainer, start_state
from services.sae.training.resume import load_state, save_state
from services.sae.variants import check, make_variant
from services.sae.variants.base import Buffers
from services.sae.weights import fold_scale, unfold_scale
from shared.lm.device import device
from shared.lm.dictionary import Dictionary, load_dictionary
from shared.stages.sae import DictionaryParameters
from shared.stages.stage import NotFiniteError, Stage, StageError

CURVE_POINTS = 500  # about as many lines as curve.jsonl gets

# What a random number is for; each purpose has a stream of numbers of its own.
INITIALISE, ORDER, SHUFFLE = 0, 1, 2


def seed_of(*parts: int) -> int:
    """One seed from several numbers, well mixed: any difference gives another seed."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def initial_seed(parameters: DictionaryParameters, model_key: str) -> int:
    """Seed of the starting weights.

    With "independent" it depends on the model too: equal starts make features of two models match
    that otherwise would not, which would pass for persistence. "shared" is what the paper does.
    """
    parts = [INITIALISE, parameters.seed, parameters.replicate]
    if parameters.init == "independent":
        digest = hashlib.sha256(model_key.encode()).digest()
        parts.append(int.from_bytes(digest[:8], "big"))
    return seed_of(*parts)


def count_features(parameters: DictionaryParameters, width: int) -> int:
    """Number of features: given as such, or as a multiple of the width."""
    if parameters.features is not None:
        return parameters.features
    if parameters.expansion is None:
        raise StageError("features: give a number of features or an expansion")
    return round(parameters.expansion * width)


class Member:
    """A dictionary in training with its curve."""

    def __init__(
        self,
        parameters: DictionaryParameters,
        steps: int,
        begun: tuple[State, float, list[str]],
        buffers: Buffers,
    ) -> None:
        self.parameters = parameters
        self.state, self.scale, self.curve = begun
        self._steps = steps
        self._every = -(-steps // CURVE_POINTS)
        self._trainer = Trainer(self.state, parameters, steps, buffers)

    def step(self, x_ND: Tensor, figures_due: bool) -> Figures | None:
        """Take one step on raw activations; returns its figures when they or the curve are due.

        Raises StageError when the loss is not finite.
        """
        scaled_ND = x_ND * self.scale
        sparsity = self._trainer.sparsity()
        batch = self._trainer.step(scaled_ND)
        step = self.state.step
        on_curve = step % self._every == 0 or step == self._steps
        if not (figures_due or on_curve):
            return None
        figures = self._trainer.figures(batch, scaled_ND, sparsity)
        if not math.isfinite(figures.loss):
            raise NotFiniteError(
                f"the dictionary's loss is not finite at step {figures.step}: "
                "lower learning_rate or check the model"
            )
        # Which other steps have figures depends on the clock, so they stay out of the file.
        if on_curve:
            self.curve.append(json.dumps(asdict(figures)) + "\n")
        return figures

    def save(self, directory: Path) -> None:
        """Write a checkpoint into an empty directory."""
        save_state(directory, self.state, self.scale, self.curve)

    def export(self, directory: Path) -> None:
        """Write the dictionary, with the scale folded in, and the curve.

        Raises StageError when a weight is not finite.
        """
        if not all(bool(torch.isfinite(tensor).all()) for tensor in self.state.weights.tensors()):
            raise NotFiniteError("the dictionary's weights are not finite: lower learning_rate")
        coder = self._trainer.export()
        fold_scale(
            coder.weights,
            self.scale,
            self.parameters.hook,
            self.parameters.layer,
            coder.threshold_F,
            coder.k,
        ).save(directory)
        (directory / "curve.jsonl").write_text("".join(self.curve), encoding="utf-8")

    def results(self, vectors: int, seconds_per_million: float | None) -> dict[str, Any]:
        """What DICTIONARY names."""
        penalised = self.parameters.k is None
        return {
            "features": len(self.state.weights.encoder_bias_F),
            "width": len(self.state.weights.decoder_bias_D),
            "scale": self.scale,
            "vectors": vectors,
            "seconds_per_million": seconds_per_million,
            "coefficient": self._trainer.coefficient() if penalised else None,
        }


def begin(
    stage: Stage, parameters: DictionaryParameters, scale: float, x_ND: Tensor
) -> tuple[State, float, list[str]]:
    """State, scale and curve before the first step, given the first step's raw vectors.

    Raises StageError for parameters that do not fit their variant, or a dictionary to start from
    that has other sizes.
    """
    features = count_features(parameters, x_ND.shape[1])
    try:
        check(parameters, features)
    except ValueError as error:
        raise StageError(str(error)) from error
    if parameters.init == "parent":
        return _from_parent(stage, parameters, features, scale, x_ND.shape[1]), scale, []
    seed = initial_seed(parameters, stage.input("model").key)
    generator = torch.Generator().manual_seed(seed)
    return start_state(parameters, features, x_ND * scale, generator), scale, []


def resume(directory: Path) -> tuple[State, float, list[str]]:
    """State, scale and curve of a checkpoint."""
    return load_state(directory, device())


def _from_parent(
    stage: Stage, parameters: DictionaryParameters, features: int, scale: float, width: int
) -> State:
    """The state whose weights are those of the input `start`."""
    if "start" not in stage.inputs:
        raise StageError('init: "parent" needs the dictionary to start from, the input start')
    try:
        dictionary = load_dictionary(stage.input("start").path, device())
    except ValueError as error:
        raise StageError(f"start: {error}") from error
    _check_sizes(dictionary, features, width)
    return State.start(make_variant(parameters).adopt(unfold_scale(dictionary, scale)))


def _check_sizes(dictionary: Dictionary, features: int, width: int) -> None:
    if (dictionary.features, dictionary.width) != (features, width):
        raise StageError(
            f"start: the dictionary has {dictionary.features} features at width "
            f"{dictionary.width}, this one has {features} at width {width}"
        )
