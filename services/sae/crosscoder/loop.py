"""The training step of a crosscoder: gradients, optimiser, unit norm, counters, checkpoints.

N: vectors of a batch, E: both models' widths side by side, F: features.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from services.sae.crosscoder.step import Crosscoder, Pass, add_auxiliary
from services.sae.crosscoder.weights import CrosscoderWeights
from services.sae.training.optimise import adam_step
from shared.stages.sae import CrosscoderParameters

# The threshold is the mean over the steps of the lowest chosen score (Bussmann et al. 2024,
# "BatchTopK Sparse Autoencoders"), over about the last hundred: earlier ones are of other weights.
THRESHOLD_STEPS = 100

STATE = "state.safetensors"
PLACE = "place.json"
CURVE = "curve.jsonl"


@dataclass
class CrosscoderState:
    """Everything that changes while a crosscoder trains."""

    weights: CrosscoderWeights
    first_moment: CrosscoderWeights
    second_moment: CrosscoderWeights
    silent_F: Tensor  # int64: steps since the feature was last chosen
    threshold: float = 0.0
    step: int = 0

    @classmethod
    def start(cls, weights: CrosscoderWeights) -> CrosscoderState:
        """The state before the first step."""
        silent_F = torch.zeros_like(weights.encoder_bias_F, dtype=torch.int64)
        return cls(weights, weights.zeros(), weights.zeros(), silent_F)


@dataclass(frozen=True)
class Figures:
    """Measurements of one step; shares and means are over its batch."""

    step: int
    loss: float
    squared_error_parent: float
    squared_error_child: float
    explained_variance_parent: float | None
    explained_variance_child: float | None
    l0: float
    dead_share: float
    threshold: float
    learning_rate: float


def learning_rate_at(step: int, steps: int, parameters: CrosscoderParameters) -> float:
    """The learning rate of a step (from 0): linear warm-up, constant, linear to zero at the end."""
    decay = parameters.learning_rate_decay * steps
    up = min(1.0, (step + 1) / parameters.warmup_steps) if parameters.warmup_steps else 1.0
    down = min(1.0, (steps - step) / decay) if decay > 0 else 1.0
    return parameters.learning_rate * up * down


class Trainer:
    """Takes steps; `state` may be saved and restored between any two of them."""

    def __init__(
        self, state: CrosscoderState, parameters: CrosscoderParameters, steps: int, batch: int
    ) -> None:
        self.state = state
        self._parameters = parameters
        self._steps = steps
        self._crosscoder = Crosscoder(state.weights, batch, parameters.k)

    def step(self, x_NE: Tensor) -> Pass:
        """One step on scaled activations: backward, project, optimise, renormalise, count.

        A decoder direction has unit norm over both models together. This loses nothing: a feature's
        size is in its activation, and how a direction divides into parent and child stays free.
        """
        state, parameters = self.state, self._parameters
        batch = self._crosscoder.run(x_NE)
        if parameters.aux_coefficient > 0:
            add_auxiliary(batch, state.weights, self.dead(), parameters.aux_coefficient)
        gradient_FE, decoder_FE = batch.gradients.decoder_FE, state.weights.decoder_FE
        # The part along the direction would only change the norm, and spoil Adam's moments.
        along_F11 = torch.bmm(gradient_FE.unsqueeze(1), decoder_FE.unsqueeze(2))
        gradient_FE.addcmul_(along_F11.squeeze(2), decoder_FE, value=-1)
        self._optimise(batch.gradients)
        decoder_FE.div_(torch.linalg.vector_norm(decoder_FE, dim=1, keepdim=True))
        state.silent_F.add_(1).masked_fill_(batch.fired_F, 0)
        state.step += 1
        least = batch.least
        if least is not None:
            rate = 1 / min(state.step, THRESHOLD_STEPS)
            state.threshold += rate * (least - state.threshold)
        return batch

    def dead(self) -> Tensor:
        """Mask [F] of the features that have been silent for more steps than the window."""
        return self.state.silent_F > self._parameters.dead_after_steps

    def figures(self, batch: Pass, x_NE: Tensor) -> Figures:
        """The figures of the step that has just been taken."""
        state = self.state
        variance_2 = (x_NE - x_NE.mean(0)).view(len(x_NE), 2, -1).square().mean((0, 2))
        errors, variances = batch.squared_errors.tolist(), variance_2.tolist()
        explained = [
            1 - error / variance if variance > 0 else None
            for error, variance in zip(errors, variances, strict=True)
        ]
        return Figures(
            step=state.step,
            loss=float(batch.loss),
            squared_error_parent=errors[0],
            squared_error_child=errors[1],
            explained_variance_parent=explained[0],
            explained_variance_child=explained[1],
            l0=batch.l0,
            dead_share=float(self.dead().double().mean()),
            threshold=state.threshold,
            learning_rate=learning_rate_at(state.step - 1, self._steps, self._parameters),
        )

    def _optimise(self, gradients: CrosscoderWeights) -> None:
        state, parameters = self.state, self._parameters
        adam_step(
            state.weights.tensors(),
            gradients.tensors(),
            state.first_moment.tensors(),
            state.second_moment.tensors(),
            state.step,
            learning_rate_at(state.step, self._steps, parameters),
            parameters.betas,
        )


def save_state(
    directory: Path, state: CrosscoderState, scale_2: list[float], curve: list[str]
) -> None:
    """Write the state into an empty directory; everything else follows from the step number."""
    parts = {
        "weights": state.weights,
        "first_moment": state.first_moment,
        "second_moment": state.second_moment,
    }
    tensors = {
        f"{part}.{name}": tensor.cpu().contiguous()
        for part, weights in parts.items()
        for name, tensor in weights.named().items()
    }
    save_file({**tensors, "silent": state.silent_F.cpu()}, directory / STATE)
    # json writes a float with as many digits as it takes to read the same float back.
    place = {"step": state.step, "threshold": state.threshold, "scale": scale_2}
    (directory / PLACE).write_text(json.dumps(place), encoding="utf-8")
    (directory / CURVE).write_text("".join(curve), encoding="utf-8")


def load_state(
    directory: Path, device: torch.device
) -> tuple[CrosscoderState, list[float], list[str]]:
    """The state, the scales and the lines of the curve that `save_state` wrote."""
    tensors = load_file(directory / STATE, device=str(device))
    place = json.loads((directory / PLACE).read_text(encoding="utf-8"))
    names = list(CrosscoderWeights.__dataclass_fields__)

    def part(name: str) -> CrosscoderWeights:
        return CrosscoderWeights(**{field: tensors[f"{name}.{field}"] for field in names})

    state = CrosscoderState(
        weights=part("weights"),
        first_moment=part("first_moment"),
        second_moment=part("second_moment"),
        silent_F=tensors["silent"],
        threshold=float(place["threshold"]),
        step=int(place["step"]),
    )
    curve = (directory / CURVE).read_text(encoding="utf-8").splitlines(keepends=True)
    return state, place["scale"], curve
