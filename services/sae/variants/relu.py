"""ReLU and an L1 penalty, written out by hand.

    f = ReLU(W_enc (x - b_dec) + b_enc),   x_hat = f W_dec + b_dec
    loss = mean over tokens of [ mean over width of (x_hat - x)^2  +  l1 * sum over features of p ]

With decoder_norm "unit" p = f and decoder directions have unit norm (Bricken et al. 2023, "Towards
Monosemanticity"). With "penalised" p = f |d| and the decoder is free (Conerly et al. 2024, "Update
on how we train SAEs", Anthropic's Circuits Updates of April 2024).

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from services.sae.sparse.select import positive
from services.sae.variants.base import Pass, Variant, reconstruct, through_encoder
from services.sae.weights import Coder, Weights
from shared.spec.variants.relu import ReluSettings

SMALLEST_NORM = 1e-12  # of a decoder direction, where it is divided by


class Relu(Variant):
    """f = ReLU(pre), with the L1 of f or of f |d|."""

    @property
    def unit_norm(self) -> bool:
        """Not in the form of April 2024."""
        return ReluSettings.of(self.parameters).decoder_norm == "unit"

    def run(self, weights: Weights, x_ND: Tensor, sparsity: float) -> Pass:
        """Gradients of the loss above; `sparsity` is l1."""
        centred_ND, pre_NF = self.encode(weights, x_ND, weights.encoder_bias_F)
        entries = positive(pre_NF, self.sparse_up_to)
        f = entries.value
        error_ND, g_ND = reconstruct(entries, f, weights, x_ND)
        l1 = sparsity / len(x_ND)
        df, sum_F = entries.products(g_ND, weights.decoder_FD), entries.sums(f)
        decoder_FD = entries.weight_gradient(f, g_ND)
        if self.unit_norm:
            df, penalty = df.add_(l1), sum_F.sum()
        else:
            norm_F = _norms(weights.decoder_FD)
            df, penalty = df + l1 * entries.of_feature(norm_F), sum_F @ norm_F
            decoder_FD.addcmul_((l1 * sum_F / norm_F)[:, None], weights.decoder_FD)
        dpre = entries.keep(df)
        encoder_FD, encoder_bias_F, decoder_bias_D = through_encoder(
            entries, dpre, weights, centred_ND, g_ND
        )
        return Pass(
            gradients=Weights(encoder_FD, encoder_bias_F, decoder_FD, decoder_bias_D),
            centred_ND=centred_ND,
            pre_NF=pre_NF,
            error_ND=error_ND,
            fired_F=sum_F > 0,
            active=torch.count_nonzero(f),
            penalty=penalty / len(x_ND),
            other=penalty.new_zeros(()),
        )

    def adopt(self, coder: Coder) -> Weights:
        """The same matrices; a threshold becomes part of the bias."""
        return without_threshold(coder)

    def export(self, weights: Weights) -> Coder:
        """Features take over the norm of their directions: f |d| and d / |d|."""
        if self.unit_norm:
            return Coder(weights)
        norm_F = _norms(weights.decoder_FD)
        return Coder(
            Weights(
                encoder_FD=weights.encoder_FD * norm_F[:, None],
                encoder_bias_F=weights.encoder_bias_F * norm_F,
                decoder_FD=weights.decoder_FD / norm_F[:, None],
                decoder_bias_D=weights.decoder_bias_D,
            )
        )


def without_threshold(coder: Coder) -> Weights:
    """The coder's weights with its threshold, if any, taken off the encoder's bias.

    Features fire where they did, with values that are smaller by the threshold.
    """
    if coder.threshold_F is None:
        return coder.weights
    bias_F = coder.weights.encoder_bias_F - coder.threshold_F.clamp_min(0)
    return replace(coder.weights, encoder_bias_F=bias_F)


def _norms(w_FD: Tensor) -> Tensor:
    norm_F: Tensor = torch.linalg.vector_norm(w_FD, dim=1)
    return norm_F.clamp_min(SMALLEST_NORM)
