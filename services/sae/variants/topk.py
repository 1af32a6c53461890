"""TopK: the k largest pre-activations of a token are its features.

    f = the k largest of ReLU(W_enc (x - b_dec) + b_enc),   x_hat = f W_dec + b_dec

The loss is the squared error; the auxiliary loss on dead features comes on top (auxiliary.py).
(Gao et al. 2024, "Scaling and evaluating sparse autoencoders".)

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

import torch
from torch import Tensor

from services.sae.sparse.entries import Entries
from services.sae.sparse.select import largest_of_each
from services.sae.variants.base import Pass, Variant, reconstruct, through_encoder
from services.sae.weights import Coder, Weights


def smallest_above_zero(f: Tensor) -> Tensor | None:
    """The smallest value above zero, None when there is none."""
    above = f[f > 0]
    return above.amin() if above.numel() else None


class TopK(Variant):
    """The k largest entries of each token."""

    def start_density(self, features: int) -> float:
        """A half: k alone limits what is active, so a bias would only stand in a feature's way.

        Started at 2.5 k of 1 024 features instead, TopK and BatchTopK end .003 to .013 of explained
        variance lower, and two seeds share a quarter to two fifths fewer features (k 20, 50, 100).
        """
        del features
        return 1 / 2

    def select(self, pre_NF: Tensor, k: float) -> Entries:
        """The active entries; k may be a fraction while it falls to its final value."""
        return largest_of_each(pre_NF, round(k), self.sparse_up_to)

    def run(self, weights: Weights, x_ND: Tensor, sparsity: float) -> Pass:
        """Gradients of the squared error; `sparsity` is k."""
        centred_ND, pre_NF = self.encode(weights, x_ND, weights.encoder_bias_F)
        entries = self.select(pre_NF, sparsity)
        f = entries.value
        error_ND, other, dpre, decoder_FD, g_ND = self.differentiate(entries, weights, x_ND)
        encoder_FD, encoder_bias_F, decoder_bias_D = through_encoder(
            entries, dpre, weights, centred_ND, g_ND
        )
        return Pass(
            gradients=Weights(encoder_FD, encoder_bias_F, decoder_FD, decoder_bias_D),
            centred_ND=centred_ND,
            pre_NF=pre_NF,
            error_ND=error_ND,
            fired_F=entries.sums(f) > 0,
            active=torch.count_nonzero(f),
            penalty=other.new_zeros(()),
            other=other,
            smallest=smallest_above_zero(f) if self.threshold_from_batches else None,
        )

    def differentiate(
        self, entries: Entries, weights: Weights, x_ND: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Error [N, D], further loss, gradients for pre-activations, decoder and x_hat [N, D]."""
        f = entries.value
        error_ND, g_ND = reconstruct(entries, f, weights, x_ND)
        dpre = entries.keep(entries.products(g_ND, weights.decoder_FD))
        decoder_FD = entries.weight_gradient(f, g_ND)
        return error_ND, error_ND.new_zeros(()), dpre, decoder_FD, g_ND

    def adopt(self, coder: Coder) -> Weights:
        """The same matrices: the k largest need no threshold."""
        return coder.weights

    def export(self, weights: Weights) -> Coder:
        """The weights, with k."""
        return Coder(weights, k=self.parameters.k)
