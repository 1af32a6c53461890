"""Bringing dead features back: ghost gradients and resampling.

N: vectors of a batch, D: width at the hook point, F: features, X: dead features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.sae.variants.base import Pass
from services.sae.weights import Weights

GHOST_NORM = 0.5  # length of the ghosts' output as a share of the residual's
RESAMPLED_ENCODER = 0.2  # encoder norm of a resampled feature as a share of the alive ones' mean
RESAMPLE_UNTIL = 0.75  # share of the steps: a feature resampled later would stay untrained


def add_ghost_gradients(batch: Pass, weights: Weights, dead_F: Tensor) -> None:
    """Add, in place, the gradients that pull dead features towards the residual.

    `dead_F` is a mask over features; only their rows get a gradient. Dead features are activated
    by exp instead of ReLU, their output is scaled to half the length of each token's residual, and
    the loss of reconstructing the residual is scaled to equal the main squared error; both scales
    and the residual count as constants. (Jermyn & Templeton 2024, "Ghost Grads: An improvement on
    resampling", Anthropic's Circuits Updates of January 2024.)
    """
    # A feature that fires in this very batch has its ordinary gradient back.
    dead_X = torch.nonzero(dead_F & ~batch.fired_F).squeeze(1)
    if len(dead_X) == 0:
        return
    residual_ND = -batch.error_ND
    encoder_XD, decoder_XD = weights.encoder_FD[dead_X], weights.decoder_FD[dead_X]
    pre_NX = torch.addmm(weights.encoder_bias_F[dead_X], batch.centred_ND, encoder_XD.T)
    # A factor common to a token's ghosts cancels in the scaling below; taking out the largest one
    # keeps features that have sunk far below zero from vanishing in float32.
    ghost_NX = pre_NX.sub_(pre_NX.amax(1, keepdim=True)).exp_()
    output_ND = ghost_NX @ decoder_XD
    length_N = torch.linalg.vector_norm(output_ND, dim=1).clamp_min(1e-12)
    scale_N = GHOST_NORM * torch.linalg.vector_norm(residual_ND, dim=1) / length_N
    difference_ND = output_ND * scale_N[:, None] - residual_ND
    error = difference_ND.square().mean()
    balance = batch.squared_error / (error + 1e-12)
    g_ND = difference_ND * (scale_N[:, None] * balance * (2 / difference_ND.numel()))
    dpre_NX = (g_ND @ decoder_XD.T).mul_(ghost_NX)  # the derivative of exp is exp
    gradients = batch.gradients
    gradients.decoder_FD.index_add_(0, dead_X, ghost_NX.T @ g_ND)
    gradients.encoder_FD.index_add_(0, dead_X, dpre_NX.T @ batch.centred_ND)
    gradients.encoder_bias_F.index_add_(0, dead_X, dpre_NX.sum(0))


def resample(
    batch: Pass, weights: Weights, moments: list[Weights], dead_F: Tensor, seed: list[int]
) -> None:
    """Restart the dead features, in place, from tokens that are reconstructed badly.

    Tokens of the batch are drawn with probability proportional to their squared loss. The decoder
    direction becomes the token's centred activation at unit norm; the encoder row the same
    direction at 0.2 of the alive features' mean norm; the bias and all of the optimiser's moments
    become zero. (Bricken et al. 2023, "Towards Monosemanticity", appendix "Neuron
    Resampling"; there the loss is taken over 819 200 tokens, here over the current batch.)
    """
    dead_X = torch.nonzero(dead_F).squeeze(1)
    if len(dead_X) == 0:
        return
    norm_N = torch.linalg.vector_norm(batch.centred_ND, dim=1)
    loss_N = batch.error_ND.double().square().mean(1) * (norm_N > 0)
    if not bool(loss_N.any()):
        return
    chosen_X = _draw(loss_N.cpu().numpy(), len(dead_X), seed).to(dead_X.device)
    direction_XD = batch.centred_ND[chosen_X] / norm_N[chosen_X, None]
    norm_F = torch.linalg.vector_norm(weights.encoder_FD, dim=1)
    alive_F = ~dead_F
    norm = norm_F[alive_F].mean() if bool(alive_F.any()) else torch.ones_like(norm_F[0])
    weights.decoder_FD[dead_X] = direction_XD
    weights.encoder_FD[dead_X] = direction_XD * (RESAMPLED_ENCODER * norm)
    weights.encoder_bias_F[dead_X] = 0
    for moment in moments:
        for tensor in moment.per_feature():
            tensor[dead_X] = 0


def _draw(loss_N: npt.NDArray[np.float64], count: int, seed: list[int]) -> Tensor:
    """Numbers of `count` tokens [count], all different as long as there are enough of them."""
    weight_N = np.square(loss_N)
    twice = bool(count > np.count_nonzero(weight_N))
    rng = np.random.default_rng(seed)
    share_N = weight_N / weight_N.sum()
    return torch.from_numpy(rng.choice(len(share_N), size=count, replace=twice, p=share_N))


def resample_now(step: int, steps: int, window: int) -> bool:
    """True at the steps (counted from 1) after which silent features are restarted."""
    return window > 0 and step % window == 0 and step <= RESAMPLE_UNTIL * steps
