"""The optimiser step of dictionaries and crosscoders: Adam without weight decay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

ADAM_EPSILON = 1e-8


def adam_step(
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    first_moments: Sequence[Tensor],
    second_moments: Sequence[Tensor],
    step: int,
    learning_rate: float,
    betas: tuple[float, float],
) -> None:
    """Change weights and moments in place; `step` counts the steps taken before.

    The functional form: the optimiser class imports the compiler (seconds) at its first step and
    hides the moments, which are part of a checkpoint.
    """
    adam(
        list(weights),
        list(gradients),
        list(first_moments),
        list(second_moments),
        [],
        [torch.tensor(float(step), device=weights[0].device) for _ in weights],
        fused=True,
        amsgrad=False,
        beta1=betas[0],
        beta2=betas[1],
        lr=learning_rate,
        weight_decay=0.0,
        eps=ADAM_EPSILON,
        maximize=False,
    )
