"""The weights of a ReLU dictionary in training, and how they leave it.

Both matrices hold one feature per row while training: that is the axis along which they are
normalised, projected and summed. D: width at the hook point, F: features.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from shared.lm.dictionary import Dictionary


@dataclass(frozen=True)
class Weights:
    """Weights of a dictionary, or anything that has one value for each of them."""

    encoder_FD: Tensor
    encoder_bias_F: Tensor
    decoder_FD: Tensor
    decoder_bias_D: Tensor

    def named(self) -> dict[str, Tensor]:
        """The tensors by name, always in the same order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def tensors(self) -> list[Tensor]:
        """The tensors in the order of `named`."""
        return list(self.named().values())

    def zeros(self) -> Weights:
        """Tensors of the same shapes, filled with zeros."""
        return Weights(*(torch.zeros_like(tensor) for tensor in self.tensors()))


def fold_scale(weights: Weights, scale: float, hook: str, layer: int) -> Dictionary:
    """The dictionary on raw activations that equals `weights` on activations times `scale`.

    With z = scale * x, ReLU is homogeneous: f(z) / scale is what the same matrices give on x when
    both biases are divided by the scale. So features come out in raw units and the decoder
    directions keep their unit norm.
    """
    return Dictionary(
        encoder_DF=weights.encoder_FD.T,
        encoder_bias_F=weights.encoder_bias_F / scale,
        decoder_FD=weights.decoder_FD,
        decoder_bias_D=weights.decoder_bias_D / scale,
        hook=hook,
        layer=layer,
    )
