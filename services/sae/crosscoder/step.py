"""BatchTopK crosscoder: the loss of a batch and its gradients, derived by hand.

    f = ReLU(sum over models m of (x_m - b_m) W_m + b),   x_hat_m = f d_m + b_m
    loss = sum over models of the mean over tokens and width of (x_hat_m - x_m)^2

(Lindsey et al. 2024, "Sparse Crosscoders"; with BatchTopK instead of the L1, which empties one side
of shared features and takes them apart: Minder et al. 2025, "Robustly identifying concepts
introduced during chat fine-tuning using crosscoders".) Of each batch of N vectors the k N features
with the highest score f_i * (|d_parent,i| + |d_child,i|) stay, the others count as silent: the
score is what a feature adds, whichever model it adds to. x_m is scaled so that the mean of |x_m|^2
is the width, and thereby both models weigh the same.

N: vectors of a batch, D: width at the hook point, E: 2 D, the parent's values and then the child's,
F: features, X: dead features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from services.sae.crosscoder.weights import CrosscoderWeights
from services.sae.sparse.entries import Entries
from services.sae.sparse.select import SPARSE_UP_TO, largest_of_all


@dataclass(frozen=True)
class Pass:
    """The result of one batch; its tensors are valid until the next pass."""

    gradients: CrosscoderWeights
    chosen: Entries  # their values are the scores
    pre_NF: Tensor  # before ReLU and selection
    centred_NE: Tensor  # x - b
    error_NE: Tensor  # x_hat - x
    fired_F: Tensor  # bool: the feature was chosen somewhere in the batch

    @property
    def squared_errors(self) -> Tensor:
        """Mean over tokens and width of the squared error, [2]: parent and child."""
        return self.error_NE.view(len(self.error_NE), 2, -1).square().mean((0, 2))

    @property
    def least(self) -> float | None:
        """The lowest score that was chosen; None where none was."""
        score = self.chosen.value
        score = score[score > 0]  # the dense form has zeros elsewhere
        return float(score.min()) if len(score) else None

    @property
    def l0(self) -> float:
        """Mean number of chosen features of a vector."""
        return int(torch.count_nonzero(self.chosen.value)) / len(self.error_NE)

    @property
    def loss(self) -> Tensor:
        """The loss, a scalar, whose gradients these are (without the auxiliary loss)."""
        return self.squared_errors.sum()


class Crosscoder:
    """Gradients for batches of one size; large tensors are reused between calls."""

    def __init__(
        self, weights: CrosscoderWeights, batch: int, k: int, sparse_up_to: float = SPARSE_UP_TO
    ) -> None:
        features, width = weights.encoder_FE.shape
        new = weights.encoder_FE.new_empty
        self._weights = weights
        self._count = batch * k
        self._sparse_up_to = sparse_up_to
        self._pre_NF = new(batch, features)
        self._score_NF = new(batch, features)
        self._centred_NE = new(batch, width)
        self._error_NE = new(batch, width)

    def run(self, x_NE: Tensor) -> Pass:
        """Encode, choose, decode and differentiate one batch of scaled activations."""
        w = self._weights
        torch.sub(x_NE, w.decoder_bias_E, out=self._centred_NE)
        torch.addmm(w.encoder_bias_F, self._centred_NE, w.encoder_FE.T, out=self._pre_NF)
        norm_F = w.norms().sum(0)
        torch.mul(self._pre_NF, norm_F, out=self._score_NF)
        chosen = largest_of_all(self._score_NF, self._count, self._sparse_up_to)
        f = chosen.value / chosen.of_feature(norm_F)
        decoded_NE = chosen.decode(f, w.decoder_FE)
        torch.add(decoded_NE, w.decoder_bias_E, out=self._error_NE).sub_(x_NE)
        return Pass(
            gradients=self._gradients(chosen, f),
            chosen=chosen,
            pre_NF=self._pre_NF,
            centred_NE=self._centred_NE,
            error_NE=self._error_NE,
            fired_F=chosen.sums(chosen.value) > 0,
        )

    def _gradients(self, chosen: Entries, f: Tensor) -> CrosscoderWeights:
        w = self._weights
        # The mean of each model is over N D values, and the losses of the two are summed.
        g_NE = self._error_NE * (4 / self._error_NE.numel())
        df = chosen.keep(chosen.products(g_NE, w.decoder_FE))
        encoder_bias_F = chosen.sums(df)
        return CrosscoderWeights(
            encoder_FE=chosen.weight_gradient(df, self._centred_NE),
            encoder_bias_F=encoder_bias_F,
            decoder_FE=chosen.weight_gradient(f, g_NE),
            decoder_bias_E=g_NE.sum(0) - encoder_bias_F @ w.encoder_FE,
        )


def add_auxiliary(
    batch: Pass, weights: CrosscoderWeights, dead_F: Tensor, coefficient: float
) -> None:
    """Add, in place, the gradients that make dead features explain the residual.

    Auxiliary loss = coefficient * mean (e_hat - e)^2 / variance of e, where e = x - x_hat counts as
    a constant and e_hat is its reconstruction from each token's D (half the width of a vector) most
    active dead features. (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", A.2;
    there as here divided by the variance, so that it does not fade as the residual does.)
    """
    # A feature that fires in this very batch has its ordinary gradient back.
    dead_X = torch.nonzero(dead_F & ~batch.fired_F).squeeze(1)
    residual_NE = -batch.error_NE
    variance = (residual_NE - residual_NE.mean(0)).square().mean()
    if len(dead_X) == 0 or float(variance) == 0:
        return
    f_NX = batch.pre_NF[:, dead_X].relu_()
    if len(dead_X) > weights.width:
        top = f_NX.topk(weights.width, dim=1)
        f_NX = torch.zeros_like(f_NX).scatter_(1, top.indices, top.values)
    decoder_XE = weights.decoder_FE[dead_X]
    difference_NE = (f_NX @ decoder_XE).sub_(residual_NE)
    g_NE = difference_NE * (2 * coefficient / (difference_NE.numel() * variance))
    df_NX = (g_NE @ decoder_XE.T).mul_(f_NX > 0)
    gradients = batch.gradients
    gradients.decoder_FE.index_add_(0, dead_X, f_NX.T @ g_NE)
    gradients.encoder_FE.index_add_(0, dead_X, df_NX.T @ batch.centred_NE)
    gradients.encoder_bias_F.index_add_(0, dead_X, df_NX.sum(0))
