"""The training step of a dictionary: gradients, optimiser, constraints, counters.

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from services.sae.start import start_weights
from services.sae.training.auxiliary import add_auxiliary
from services.sae.training.optimise import adam_step
from services.sae.training.revive import add_ghost_gradients, resample, resample_now
from services.sae.training.steer import Tuned
from services.sae.variants import make_variant
from services.sae.variants.base import Buffers, Pass
from services.sae.weights import Coder, Weights
from shared.spec.variants.base import AuxiliarySettings
from shared.stages.sae import DictionaryParameters


@dataclass
class State:
    """Everything that changes while a dictionary trains."""

    weights: Weights
    first_moment: Weights
    second_moment: Weights
    silent_F: Tensor  # int64: steps since the feature was last active
    tuned: Tuned
    step: int = 0

    @classmethod
    def start(cls, weights: Weights) -> State:
        """The state before the first step."""
        silent_F = torch.zeros(
            len(weights.encoder_bias_F), dtype=torch.int64, device=weights.encoder_bias_F.device
        )
        return cls(weights, weights.zeros(), weights.zeros(), silent_F, Tuned())


@dataclass(frozen=True)
class Figures:
    """Measurements of one step; shares and means are over its batch."""

    step: int
    loss: float
    squared_error: float
    coefficient: float | None
    l0: float
    explained_variance: float | None
    dead_share: float
    learning_rate: float


def start_state(
    parameters: DictionaryParameters, features: int, x_ND: Tensor, generator: torch.Generator
) -> State:
    """A state with random weights, given the first vectors at their common scale."""
    variant = make_variant(parameters)
    weights = start_weights(features, x_ND, generator, variant.start_density(features))
    return State.start(variant.complete(weights))


def warm_up(step: int, steps: int) -> float:
    """The share, from 0 to 1, that a linear warm-up has reached at a step (from 0)."""
    return step / steps if step < steps else 1.0


def learning_rate_at(step: int, steps: int, parameters: DictionaryParameters) -> float:
    """The learning rate of a step (from 0): warm-up, constant, linear to zero at the end."""
    decay = parameters.learning_rate_decay * steps
    left = min(1.0, (steps - step) / decay) if decay > 0 else 1.0
    return parameters.learning_rate * left * warm_up(step + 1, parameters.warmup_steps + 1)


class Trainer:
    """Takes steps; `state` may be saved and restored between any two of them."""

    def __init__(
        self,
        state: State,
        parameters: DictionaryParameters,
        steps: int,
        buffers: Buffers | None = None,
    ) -> None:
        self.state = state
        self._parameters = parameters
        self._steps = steps
        self.variant = make_variant(parameters, buffers)
        if state.tuned.base == 0:
            width = state.weights.encoder_FD.shape[1]
            state.tuned.base = self.variant.start_coefficient(width)

    def step(self, x_ND: Tensor) -> Pass:
        """One step on scaled activations: backward, project, optimise, renormalise, count."""
        state, parameters = self.state, self._parameters
        weights = state.weights
        batch = self._revive(self.variant.run(weights, x_ND, self.sparsity()))
        if self.variant.unit_norm:
            project_out_parallel(batch.gradients.decoder_FD, weights.decoder_FD)
        self._optimise(batch.gradients)
        if self.variant.unit_norm:
            renormalise(weights.decoder_FD)
        state.silent_F.add_(1).masked_fill_(batch.fired_F, 0)
        self._tune(batch, len(x_ND))
        state.step += 1
        window = parameters.dead_after_steps
        if parameters.revive == "resample" and resample_now(state.step, self._steps, window):
            self._resample(batch)
        return batch

    def _revive(self, batch: Pass) -> Pass:
        """Add the gradients of dead features, where these are revived by gradients."""
        parameters, weights = self._parameters, self.state.weights
        if parameters.revive == "ghost":
            add_ghost_gradients(batch, weights, self.dead())
        if parameters.revive != "aux":
            return batch
        coefficient = AuxiliarySettings.of(parameters).coefficient
        loss = add_auxiliary(batch, weights, self.dead(), coefficient)
        return replace(batch, other=batch.other + loss)

    def sparsity(self) -> float:
        """The coefficient of the penalty, or k, for the next step."""
        parameters, step = self._parameters, self.state.step
        if parameters.k is not None:
            return parameters.k
        return self.coefficient() * warm_up(step, parameters.sparsity_warmup_steps)

    def coefficient(self) -> float:
        """The coefficient of the penalty, without its warm-up."""
        if self._parameters.l0 is not None:
            return self.state.tuned.coefficient(self._parameters.l0)
        assert self._parameters.l1 is not None
        return self._parameters.l1

    def _tune(self, batch: Pass, vectors: int) -> None:
        parameters, state = self._parameters, self.state
        if state.step < parameters.sparsity_warmup_steps:
            return
        if parameters.l0 is not None:
            l0 = float(batch.active) / vectors
            state.tuned.steer(l0, parameters.l0, state.step, self._steps)
        if batch.smallest is not None:
            state.tuned.follow(float(batch.smallest))

    def export(self) -> Coder:
        """The dictionary as it is now, on scaled activations."""
        coder = self.variant.export(self.state.weights)
        if not self.variant.threshold_from_batches:
            return coder
        threshold_F = torch.full_like(coder.weights.encoder_bias_F, self.state.tuned.threshold)
        return replace(coder, threshold_F=threshold_F)

    def dead(self) -> Tensor:
        """Mask [F] of the features that have been silent for more steps than the window."""
        return self.state.silent_F > self._parameters.dead_after_steps

    def figures(self, batch: Pass, x_ND: Tensor, sparsity: float) -> Figures:
        """The figures of the step that has just been taken, at that sparsity."""
        step = self.state.step - 1
        coefficient = None if self._parameters.k is not None else sparsity
        variance = float((x_ND - x_ND.mean(0)).square().mean())
        squared_error = float(batch.squared_error)
        return Figures(
            step=step + 1,
            loss=float(batch.loss(coefficient or 0.0)),
            squared_error=squared_error,
            coefficient=coefficient,
            l0=float(batch.active) / len(x_ND),
            explained_variance=1 - squared_error / variance if variance > 0 else None,
            dead_share=float(self.dead().double().mean()),
            learning_rate=learning_rate_at(step, self._steps, self._parameters),
        )

    def _optimise(self, gradients: Weights) -> None:
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

    def _resample(self, batch: Pass) -> None:
        state, parameters = self.state, self._parameters
        dead_F = state.silent_F >= parameters.dead_after_steps
        seed = [parameters.seed, parameters.replicate, state.step]
        resample(batch, state.weights, [state.first_moment, state.second_moment], dead_F, seed)
        state.silent_F.masked_fill_(dead_F, 0)


def project_out_parallel(gradient_FD: Tensor, w_FD: Tensor) -> None:
    """Remove, in place, the part of each row's gradient along its (unit) direction.

    That part would only change the norm, which is fixed, and would spoil Adam's moments.
    """
    along_F11 = torch.bmm(gradient_FD.unsqueeze(1), w_FD.unsqueeze(2))
    gradient_FD.addcmul_(along_F11.squeeze(2), w_FD, value=-1)


def renormalise(w_FD: Tensor) -> None:
    """Give each row, one feature's decoder direction, unit norm, in place."""
    w_FD.div_(torch.linalg.vector_norm(w_FD, dim=1, keepdim=True))
