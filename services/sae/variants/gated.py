"""Gated: one path decides which features are active, another how much.

    u = W_enc (x - b_dec),  gate = u + b_gate,  f = [gate > 0] * ReLU(exp(r) u + b_enc)
    loss = |x_hat(f) - x|^2 + l1 * sum of ReLU(gate) + |x_hat'(ReLU(gate)) - x|^2

x_hat' is x_hat with the decoder as a constant: it trains the gate, which has no gradient from the
first term, and the L1 shrinks only the gate. (Rajamanoharan et al. 2024, "Improving Dictionary
Learning with Gated Sparse Autoencoders", equations 6 to 8; the two paths share W_enc.) The squares
are means over tokens and width, the sum is a mean over tokens.

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from services.sae.sparse.select import positive
from services.sae.variants.base import Pass, Variant, mean_square, reconstruct, through_encoder
from services.sae.weights import Coder, Weights


class Gated(Variant):
    """`encoder_bias_F` is the magnitude's bias, `log_gain_F` is r."""

    start_above = 5.0

    def run(self, weights: Weights, x_ND: Tensor, sparsity: float) -> Pass:
        """Gradients of the loss above; `sparsity` is l1."""
        gate_bias_F, log_gain_F = weights.gate_bias_F, weights.log_gain_F
        assert gate_bias_F is not None
        assert log_gain_F is not None
        centred_ND, pre_NF = self.encode(weights, x_ND, gate_bias_F)
        entries = positive(pre_NF, self.sparse_up_to)
        gate = entries.value
        gain = entries.of_feature(log_gain_F.exp())
        u = gate - entries.of_feature(gate_bias_F)
        f = entries.keep(torch.addcmul(entries.of_feature(weights.encoder_bias_F), gain, u))
        f = f.relu_()
        error_ND, g_ND = reconstruct(entries, f, weights, x_ND)
        frozen_ND, gate_g_ND = reconstruct(entries, gate, weights, x_ND)
        # Through the magnitude, where it is above zero, and through the gate.
        dmagnitude = entries.products(g_ND, weights.decoder_FD) * (f > 0)
        dgate = entries.products(gate_g_ND, weights.decoder_FD).add_(sparsity / len(x_ND))
        dgate = entries.keep(dgate)
        encoder_FD, _, decoder_bias_D = through_encoder(
            entries, dmagnitude * gain + dgate, weights, centred_ND, g_ND
        )
        sum_F = entries.sums(f)
        return Pass(
            gradients=Weights(
                encoder_FD=encoder_FD,
                encoder_bias_F=entries.sums(dmagnitude),
                decoder_FD=entries.weight_gradient(f, g_ND),
                decoder_bias_D=decoder_bias_D,
                gate_bias_F=entries.sums(dgate),
                log_gain_F=entries.sums(dmagnitude * gain * u),
            ),
            centred_ND=centred_ND,
            pre_NF=pre_NF,
            error_ND=error_ND,
            fired_F=sum_F > 0,
            active=torch.count_nonzero(f),
            penalty=gate.sum() / len(x_ND),
            other=mean_square(frozen_ND),
        )

    def complete(self, weights: Weights) -> Weights:
        """Both paths start alike."""
        return replace(
            weights,
            gate_bias_F=weights.encoder_bias_F.clone(),
            log_gain_F=torch.zeros_like(weights.encoder_bias_F),
        )

    def adopt(self, coder: Coder) -> Weights:
        """Exact: the gate opens where the threshold is passed."""
        weights = self.complete(coder.weights)
        if coder.threshold_F is None:
            return weights
        gate_bias_F = weights.encoder_bias_F - coder.threshold_F.clamp_min(0)
        return replace(weights, gate_bias_F=gate_bias_F)

    def export(self, weights: Weights) -> Coder:
        """Exactly a JumpReLU coder.

        gate > 0 is u > -b_gate, and so exp(r) u + b_enc > b_enc - exp(r) b_gate.
        """
        assert weights.gate_bias_F is not None
        assert weights.log_gain_F is not None
        gain_F = weights.log_gain_F.exp()
        plain = Weights(
            encoder_FD=weights.encoder_FD * gain_F[:, None],
            encoder_bias_F=weights.encoder_bias_F,
            decoder_FD=weights.decoder_FD,
            decoder_bias_D=weights.decoder_bias_D,
        )
        return Coder(plain, (weights.encoder_bias_F - gain_F * weights.gate_bias_F).clamp_min(0))
