"""The training step of a dictionary: gradients, optimiser, constraints, counters.

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adam import adam

from services.sae.relu import Pass, Relu
from services.sae.revive import add_ghost_gradients, resample, resample_now
from services.sae.weights import Weights
from shared.parameters import DictionaryParameters

ADAM_EPSILON = 1e-8


@dataclass
class State:
    """Everything that changes while a dictionary trains."""

    weights: Weights
    first_moment: Weights
    second_moment: Weights
    silent_F: Tensor  # int64: steps since the feature was last active
    step: int = 0

    @classmethod
    def start(cls, weights: Weights) -> State:
        """The state before the first step."""
        silent_F = torch.zeros(
            len(weights.encoder_bias_F), dtype=torch.int64, device=weights.encoder_bias_F.device
        )
        return cls(weights, weights.zeros(), weights.zeros(), silent_F)


@dataclass(frozen=True)
class Figures:
    """What a step says about itself; shares and means over its batch."""

    step: int
    loss: float
    squared_error: float
    l1: float
    l0: float
    explained_variance: float | None
    dead_share: float
    learning_rate: float


def l1_at(step: int, parameters: DictionaryParameters) -> float:
    """The l1 coefficient of a step (from 0): a linear warm-up from zero, then constant."""
    if step >= parameters.l1_warmup_steps:
        return parameters.l1
    return parameters.l1 * step / parameters.l1_warmup_steps


def learning_rate_at(step: int, steps: int, parameters: DictionaryParameters) -> float:
    """The learning rate of a step (from 0): constant, then linear to zero over the last share."""
    decay = parameters.learning_rate_decay * steps
    left = steps - step
    return parameters.learning_rate * (min(1.0, left / decay) if decay > 0 else 1.0)


class Trainer:
    """Takes steps; `state` may be saved and put back between any two of them."""

    def __init__(self, state: State, parameters: DictionaryParameters, steps: int) -> None:
        self.state = state
        self._parameters = parameters
        self._steps = steps
        vectors = parameters.batch * parameters.context
        self._relu = Relu(state.weights, vectors)

    def step(self, x_ND: Tensor) -> Pass:
        """One step on scaled activations: backward, project, optimise, renormalise, count."""
        state, parameters = self.state, self._parameters
        batch = self._relu.run(x_ND, l1_at(state.step, parameters))
        if parameters.revive == "ghost":
            add_ghost_gradients(batch, state.weights, self.dead())
        project_out_parallel(batch.gradients.decoder_FD, state.weights.decoder_FD)
        self._optimise(batch.gradients)
        renormalise(state.weights.decoder_FD)
        state.silent_F.add_(1).masked_fill_(batch.fired_F, 0)
        state.step += 1
        window = parameters.dead_after_steps
        if parameters.revive == "resample" and resample_now(state.step, self._steps, window):
            self._resample(batch)
        return batch

    def dead(self) -> Tensor:
        """Mask [F] of the features that were silent for more steps than the window."""
        return self.state.silent_F > self._parameters.dead_after_steps

    def figures(self, batch: Pass, x_ND: Tensor) -> Figures:
        """The figures of the step that has just been taken."""
        step = self.state.step - 1
        l1 = l1_at(step, self._parameters)
        variance = float((x_ND - x_ND.mean(0)).square().mean())
        squared_error = float(batch.squared_error)
        return Figures(
            step=step + 1,
            loss=float(batch.loss(l1)),
            squared_error=squared_error,
            l1=l1,
            l0=float(batch.active) / len(x_ND),
            explained_variance=1 - squared_error / variance if variance > 0 else None,
            dead_share=float(self.dead().double().mean()),
            learning_rate=learning_rate_at(step, self._steps, self._parameters),
        )

    def _optimise(self, gradients: Weights) -> None:
        state, parameters = self.state, self._parameters
        tensors = state.weights.tensors()
        # The functional form: the optimiser class imports the compiler (seconds) at its first step
        # and hides the moments, which are part of the checkpoint.
        adam(
            tensors,
            gradients.tensors(),
            state.first_moment.tensors(),
            state.second_moment.tensors(),
            [],
            [torch.tensor(float(state.step), device=tensors[0].device) for _ in tensors],
            fused=True,
            amsgrad=False,
            beta1=parameters.betas[0],
            beta2=parameters.betas[1],
            lr=learning_rate_at(state.step, self._steps, parameters),
            weight_decay=0.0,
            eps=ADAM_EPSILON,
            maximize=False,
        )

    def _resample(self, batch: Pass) -> None:
        state, parameters = self.state, self._parameters
        dead_F = state.silent_F >= parameters.dead_after_steps
        seed = [parameters.seed, parameters.replicate, state.step]
        resample(batch, state.weights, [state.first_moment, state.second_moment], dead_F, seed)
        state.silent_F.masked_fill_(dead_F, 0)


def project_out_parallel(gradient_FD: Tensor, w_FD: Tensor) -> None:
    """Take away, in place, each row's gradient along its (unit) direction.

    That part would only change the norm, which is fixed, and would spoil Adam's moments.
    """
    along_F11 = torch.bmm(gradient_FD.unsqueeze(1), w_FD.unsqueeze(2))
    gradient_FD.addcmul_(along_F11.squeeze(2), w_FD, value=-1)


def renormalise(w_FD: Tensor) -> None:
    """Give each row, one feature's decoder direction, unit norm, in place."""
    w_FD.div_(torch.linalg.vector_norm(w_FD, dim=1, keepdim=True))
