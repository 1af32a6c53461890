"""ReLU + L1 dictionary: one batch to its loss and its gradients, written out by hand.

    f = ReLU(W_enc (x - b_dec) + b_enc),   x_hat = f W_dec + b_dec
    loss = mean over tokens of [ mean over width of (x_hat - x)^2  +  l1 * sum over features of f ]

(Bricken et al. 2023, "Towards Monosemanticity".) x is scaled so that the mean of |x|^2 is the
width: predicting nothing costs 1 whatever the model, and one l1 means the same for all models.

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.sae import sparse
from services.sae.weights import Weights

# Share of active entries up to which the sparse products are the faster ones. Measured on two
# cores of Zen 5: they break even between 0.07 (1024 -> 16 384) and 0.27 (512 -> 1 024).
SPARSE_UP_TO = 1 / 16


@dataclass(frozen=True)
class Pass:
    """What one batch gave. Sums run over the whole batch; its tensors live until the next pass."""

    gradients: Weights
    centred_ND: Tensor  # x - b_dec
    error_ND: Tensor  # x_hat - x
    fired_F: Tensor  # bool: the feature was active somewhere in the batch
    active: Tensor  # number of active entries
    activation_sum: Tensor

    @property
    def squared_error(self) -> Tensor:
        """Mean over tokens and width of the squared error."""
        flat = self.error_ND.view(-1)
        return torch.dot(flat, flat) / flat.numel()

    def loss(self, l1: float) -> Tensor:
        """The loss whose gradients these are, when they were computed with the same l1."""
        return self.squared_error + l1 * self.activation_sum / len(self.error_ND)


class Relu:
    """Gradients of the loss for batches of one size; the large tensors are kept between calls."""

    def __init__(self, weights: Weights, batch: int, sparse_up_to: float = SPARSE_UP_TO) -> None:
        features, width = weights.encoder_FD.shape
        new = weights.encoder_FD.new_empty
        self._weights = weights
        self._f_NF = new(batch, features)
        self._mask_NF = new(batch, features, dtype=torch.bool)
        self._centred_ND = new(batch, width)
        self._error_ND = new(batch, width)
        self._df_NF: Tensor | None = None  # only the dense way needs it
        self._dense_gradients: Weights | None = None
        # The sparse products are CPU kernels; a GPU is faster with the dense ones.
        self._sparse_up_to = sparse_up_to if weights.encoder_FD.device.type == "cpu" else -1.0

    def run(self, x_ND: Tensor, l1: float) -> Pass:
        """Encode, decode and differentiate one batch of scaled activations."""
        w = self._weights
        torch.sub(x_ND, w.decoder_bias_D, out=self._centred_ND)
        torch.addmm(w.encoder_bias_F, self._centred_ND, w.encoder_FD.T, out=self._f_NF)
        torch.gt(self._f_NF, 0, out=self._mask_NF)
        if self._is_sparse():
            return self._sparse(x_ND, l1)
        return self._dense(x_ND, l1)

    def _is_sparse(self) -> bool:
        if self._sparse_up_to < 0:
            return False
        share = np.count_nonzero(self._mask_NF.numpy()) / self._mask_NF.numel()
        return bool(share <= self._sparse_up_to)

    def _sparse(self, x_ND: Tensor, l1: float) -> Pass:
        w, n = self._weights, len(x_ND)
        active = sparse.find_active(self._f_NF, self._mask_NF)
        torch.add(sparse.decode(active, w.decoder_FD), w.decoder_bias_D, out=self._error_ND)
        self._error_ND.sub_(x_ND)
        g_ND = self._error_ND * (2 / x_ND.numel())
        df_K = sparse.at_entries(active, g_ND, w.decoder_FD).add_(l1 / n)
        encoder_bias_F = sparse.feature_sums(active, df_K)
        gradients = Weights(
            encoder_FD=sparse.weight_gradient(active, df_K, self._centred_ND),
            encoder_bias_F=encoder_bias_F,
            decoder_FD=sparse.weight_gradient(active, active.value_K, g_ND),
            decoder_bias_D=g_ND.sum(0) - encoder_bias_F @ w.encoder_FD,
        )
        return self._pass(
            gradients,
            fired_F=active.first_F1.diff() > 0,
            active=torch.tensor(len(active.value_K)),
            activation_sum=active.value_K.sum(),
        )

    def _dense(self, x_ND: Tensor, l1: float) -> Pass:
        w, n = self._weights, len(x_ND)
        if self._dense_gradients is None or self._df_NF is None:
            self._dense_gradients = w.zeros()
            self._df_NF = torch.empty_like(self._f_NF)
        gradients, df_NF = self._dense_gradients, self._df_NF
        f_NF = self._f_NF.relu_()
        torch.addmm(w.decoder_bias_D, f_NF, w.decoder_FD, out=self._error_ND).sub_(x_ND)
        g_ND = self._error_ND * (2 / x_ND.numel())
        torch.mm(f_NF.T, g_ND, out=gradients.decoder_FD)
        torch.mm(g_ND, w.decoder_FD.T, out=df_NF).add_(l1 / n).mul_(self._mask_NF)
        torch.mm(df_NF.T, self._centred_ND, out=gradients.encoder_FD)
        torch.sum(df_NF, 0, out=gradients.encoder_bias_F)
        gradients.decoder_bias_D.copy_(g_ND.sum(0) - gradients.encoder_bias_F @ w.encoder_FD)
        sum_F = f_NF.sum(0)
        return self._pass(
            gradients,
            fired_F=sum_F > 0,
            active=torch.count_nonzero(self._mask_NF),
            activation_sum=sum_F.sum(),
        )

    def _pass(
        self, gradients: Weights, fired_F: Tensor, active: Tensor, activation_sum: Tensor
    ) -> Pass:
        return Pass(gradients, self._centred_ND, self._error_ND, fired_F, active, activation_sum)
