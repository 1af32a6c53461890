"""JumpReLU: a learned threshold for each feature, and a penalty on the number of active ones.

    f = pre where pre > theta, else 0,   loss = squared error + l * mean over tokens of |f|_0

The jump has no useful derivative for theta. A rectangle of width `bandwidth` around it stands in
(Rajamanoharan et al. 2024, "Jumping Ahead: Improving Reconstruction Fidelity with JumpReLU Sparse
Autoencoders", equations 11 and 12): with K = 1 where |pre - theta| < bandwidth / 2,

    df/dtheta = -theta / bandwidth K,   d|f|_0/dtheta = -1 / bandwidth K

theta = exp(log_threshold) stays positive. Entries at or below zero take no part, as in that paper.

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from services.sae.sparse.select import positive
from services.sae.variants.base import Pass, Variant, reconstruct, through_encoder
from services.sae.weights import Coder, Weights
from shared.spec.variants.jumprelu import JumpReluSettings

# Pre-activations start with a standard deviation of about 1. The paper starts at 0.001 of an
# activation's norm and trains for billions of tokens; the optimiser moves the logarithm by the
# learning rate a step, so a short training would never get from there to where thresholds end. On
# the toy world of the tests every threshold from 0.2 to 1 and bandwidth from 0.1 to 2 ends within
# .03 of the same correlation with the true codes; from the paper's both it does not train at all.
START_THRESHOLD = 0.5
BANDWIDTH = 0.5


class JumpRelu(Variant):
    """f = pre where pre > theta."""

    start_above = 1.25

    def run(self, weights: Weights, x_ND: Tensor, sparsity: float) -> Pass:
        """Gradients of the loss above; `sparsity` is the weight of the L0."""
        assert weights.log_threshold_F is not None
        theta_F = weights.log_threshold_F.exp()
        bandwidth = JumpReluSettings.of(self.parameters).bandwidth or BANDWIDTH
        # Entries that count, active or within the rectangle below the threshold, exceed this.
        lower_F = (theta_F - bandwidth / 2).clamp_min_(0)
        centred_ND, pre_NF = self.encode(weights, x_ND, weights.encoder_bias_F - lower_F)
        entries = positive(pre_NF, self.sparse_up_to)
        theta = entries.of_feature(theta_F)
        pre = entries.keep(entries.value + entries.of_feature(lower_F))
        on = pre > theta
        f = pre * on
        error_ND, g_ND = reconstruct(entries, f, weights, x_ND)
        df = entries.keep(entries.products(g_ND, weights.decoder_FD))
        near = entries.keep(((pre - theta).abs() < bandwidth / 2).to(pre.dtype))
        dtheta = near * (df * theta + sparsity / len(x_ND)) * (-1 / bandwidth)
        encoder_FD, encoder_bias_F, decoder_bias_D = through_encoder(
            entries, df * on, weights, centred_ND, g_ND
        )
        active = torch.count_nonzero(f)
        return Pass(
            gradients=Weights(
                encoder_FD=encoder_FD,
                encoder_bias_F=encoder_bias_F,
                decoder_FD=entries.weight_gradient(f, g_ND),
                decoder_bias_D=decoder_bias_D,
                log_threshold_F=entries.sums(dtheta) * theta_F,
            ),
            centred_ND=centred_ND,
            pre_NF=pre_NF,
            error_ND=error_ND,
            fired_F=entries.sums(f) > 0,
            active=active,
            penalty=active.to(pre.dtype) / len(x_ND),
            other=error_ND.new_zeros(()),
        )

    def start_coefficient(self, width: int) -> float:
        """Here the coefficient weights the L0: it starts at what one feature is worth."""
        l0 = self.parameters.l0
        return super().start_coefficient(width) if l0 is None else 0.05 / l0

    def complete(self, weights: Weights) -> Weights:
        """The paper's threshold; the bias makes up for it, so that as many entries are active."""
        return replace(
            weights,
            encoder_bias_F=weights.encoder_bias_F + START_THRESHOLD,
            log_threshold_F=torch.full_like(weights.encoder_bias_F, math.log(START_THRESHOLD)),
        )

    def adopt(self, coder: Coder) -> Weights:
        """Exact, but for thresholds below the starting one, which are raised to it."""
        weights = self.complete(coder.weights)
        assert weights.log_threshold_F is not None
        if coder.threshold_F is None:
            return weights
        least_F = weights.log_threshold_F.exp()
        log_threshold_F = torch.maximum(coder.threshold_F, least_F).log()
        return replace(coder.weights, log_threshold_F=log_threshold_F)

    def export(self, weights: Weights) -> Coder:
        """The weights with their thresholds."""
        assert weights.log_threshold_F is not None
        return Coder(replace(weights, log_threshold_F=None), weights.log_threshold_F.exp())
