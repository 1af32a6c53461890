"""What the training loop knows of a variant.

Loss of all of them, x scaled so that the mean of |x|^2 is the width: mean over tokens and width of
(x_hat - x)^2, so that predicting nothing costs 1 whatever the model, plus what the variant adds.

N: vectors of a batch, D: width at the hook point, F: features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from services.sae.sparse.entries import Entries
from services.sae.sparse.select import SPARSE_UP_TO
from services.sae.start import START_DENSITY
from services.sae.weights import Coder, Weights
from shared.stages.sae import DictionaryParameters

# Steering that begins with far too many active features overshoots, and what it silences comes back
# slowly: relu and gated, 1 024 features, L0 100, lose .01 to .03 of explained variance at a half.
START_MOST = 1 / 4


@dataclass(frozen=True)
class Pass:
    """What one batch gave; its tensors live until the next pass. Scalars are tensors of one."""

    gradients: Weights
    centred_ND: Tensor  # x - b_dec
    pre_NF: Tensor  # pre-activations, as the variant selects from them
    error_ND: Tensor  # x_hat - x
    fired_F: Tensor  # bool: the feature was active somewhere in the batch
    active: Tensor  # number of active entries
    penalty: Tensor  # what the coefficient weights, mean over tokens
    other: Tensor  # terms of the loss beside squared error and penalty
    smallest: Tensor | None = None  # the smallest active value; None: none, or nobody asks

    @property
    def squared_error(self) -> Tensor:
        """Mean over tokens and width of the squared error."""
        return mean_square(self.error_ND)

    def loss(self, coefficient: float) -> Tensor:
        """The loss whose gradients these are, when they were computed with this coefficient."""
        return self.squared_error + coefficient * self.penalty + self.other


def mean_square(x_ND: Tensor) -> Tensor:
    """Mean over tokens and width."""
    flat = x_ND.reshape(-1)
    return torch.dot(flat, flat) / flat.numel()


class Buffers:
    """Large arrays kept between steps; dictionaries that take turns may share them."""

    def __init__(self) -> None:
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, shape: tuple[int, int], like: Tensor) -> Tensor:
        """An array of that shape; what was under the name before is lost."""
        flat, size = self._flat.get(name), shape[0] * shape[1]
        if flat is None or flat.numel() < size or flat.dtype != like.dtype:
            self._flat.pop(name, None)
            flat = self._flat[name] = like.new_empty(size)
        return flat[:size].view(shape)


@dataclass
class Variant(ABC):
    """One kind of dictionary: how a batch becomes gradients, and how the weights leave."""

    # With a target L0: how much denser than the target features start, as a factor. Measured for
    # each variant (bench/dictionary_quality.py): 1.25, 2.5 and 5 differ by up to .009 of explained
    # variance.
    start_above: ClassVar[float] = 2.5

    parameters: DictionaryParameters
    sparse_up_to: float = SPARSE_UP_TO
    buffers: Buffers = field(default_factory=Buffers)

    @property
    def unit_norm(self) -> bool:
        """True when every decoder direction is held at unit norm."""
        return True

    @property
    def threshold_from_batches(self) -> bool:
        """True when inference needs a threshold, the running mean of `Pass.smallest`."""
        return False

    def check(self, features: int) -> None:
        """Raise ValueError, naming the field, for settings that do not fit that many features."""
        del features

    def start_coefficient(self, width: int) -> float:
        """The coefficient that steering starts from: it takes away half of a feature's value."""
        return 1 / width

    def start_density(self, features: int) -> float:
        """The share of the vectors on which a feature fires before the first step."""
        above = self.start_above * (self.parameters.l0 or 0.0) / features
        return min(START_MOST, max(START_DENSITY, above))

    @abstractmethod
    def run(self, weights: Weights, x_ND: Tensor, sparsity: float) -> Pass:
        """Encode, decode and differentiate one batch of scaled activations.

        `sparsity` is the coefficient of the penalty, or k.
        """

    def complete(self, weights: Weights) -> Weights:
        """Starting weights with what only this variant has."""
        return weights

    @abstractmethod
    def adopt(self, coder: Coder) -> Weights:
        """Weights that compute what the coder does, as far as the variant can."""

    @abstractmethod
    def export(self, weights: Weights) -> Coder:
        """The weights in the common form, decoder directions at unit norm."""

    def encode(self, weights: Weights, x_ND: Tensor, bias_F: Tensor) -> tuple[Tensor, Tensor]:
        """x - b_dec [N, D] and (x - b_dec) W_enc + bias [N, F], both in kept memory."""
        n, (features, width) = len(x_ND), weights.encoder_FD.shape
        centred_ND = self.buffers.take("centred", (n, width), x_ND)
        pre_NF = self.buffers.take("pre", (n, features), x_ND)
        torch.sub(x_ND, weights.decoder_bias_D, out=centred_ND)
        torch.addmm(bias_F, centred_ND, weights.encoder_FD.T, out=pre_NF)
        return centred_ND, pre_NF


def reconstruct(
    entries: Entries, value: Tensor, weights: Weights, x_ND: Tensor
) -> tuple[Tensor, Tensor]:
    """The error x_hat - x [N, D] and the gradient of its mean square for x_hat."""
    error_ND = entries.decode(value, weights.decoder_FD)
    error_ND.add_(weights.decoder_bias_D).sub_(x_ND)
    return error_ND, error_ND * (2 / x_ND.numel())


def through_encoder(
    entries: Entries, dpre: Tensor, weights: Weights, centred_ND: Tensor, g_ND: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the encoder, its bias and b_dec.

    `dpre` is the loss's gradient for the pre-activations, `g_ND` that for x_hat.
    b_dec is added at the end and subtracted at the start.
    """
    bias_F = entries.sums(dpre)
    return (
        entries.weight_gradient(dpre, centred_ND),
        bias_F,
        g_ND.sum(0) - bias_F @ weights.encoder_FD,
    )
