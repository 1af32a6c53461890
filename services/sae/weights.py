"""The weights of a dictionary in training, and their conversion from and to a finished one.

Both matrices hold one feature per row while training: that is the axis along which they are
normalised, projected and summed. D: width at the hook point, F: features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from shared.lm.dictionary import Dictionary


@dataclass(frozen=True)
class Weights:
    """Weights of a dictionary, or anything that has one value for each of them.

    The last three belong to single variants: the logarithm of a threshold to jumprelu, the gate's
    bias and the logarithm of the magnitude's gain to gated. Elsewhere they are None.
    """

    encoder_FD: Tensor
    encoder_bias_F: Tensor
    decoder_FD: Tensor
    decoder_bias_D: Tensor
    log_threshold_F: Tensor | None = None
    gate_bias_F: Tensor | None = None
    log_gain_F: Tensor | None = None

    def named(self) -> dict[str, Tensor]:
        """The tensors that are not None, by name, always in the same order."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def tensors(self) -> list[Tensor]:
        """The tensors in the order of `named`."""
        return list(self.named().values())

    def map(self, function: Callable[[Tensor], Tensor]) -> Weights:
        """Weights with the function applied to each tensor."""
        return Weights(**{name: function(tensor) for name, tensor in self.named().items()})

    def zeros(self) -> Weights:
        """Tensors of the same shapes, filled with zeros."""
        return self.map(torch.zeros_like)

    def per_feature(self) -> list[Tensor]:
        """The tensors that have one row (or one number) for each feature."""
        return [tensor for name, tensor in self.named().items() if name != "decoder_bias_D"]


@dataclass(frozen=True)
class Coder:
    """A dictionary in the common form that every variant can be exported to.

    pre = (x - b_dec) W_enc + b_enc; f = ReLU(pre), or pre where pre > threshold_F, or the k largest
    of ReLU(pre).
    """

    weights: Weights
    threshold_F: Tensor | None = None
    k: int | None = None


def fold_scale(
    weights: Weights,
    scale: float,
    hook: str,
    layer: int,
    threshold_F: Tensor | None = None,
    k: int | None = None,
) -> Dictionary:
    """The dictionary on raw activations that equals `weights` on activations times `scale`.

    With z = scale * x every activation function used here is homogeneous: f(z) / scale is what the
    same matrices give on x when both biases and the thresholds are divided by the scale. So
    features come out in raw units and the decoder directions keep their unit norm.
    """
    return Dictionary(
        encoder_DF=weights.encoder_FD.T,
        encoder_bias_F=weights.encoder_bias_F / scale,
        decoder_FD=weights.decoder_FD,
        decoder_bias_D=weights.decoder_bias_D / scale,
        hook=hook,
        layer=layer,
        threshold_F=None if threshold_F is None else threshold_F / scale,
        k=k,
    )


def unfold_scale(dictionary: Dictionary, scale: float) -> Coder:
    """The coder on activations times `scale` that equals the dictionary on raw activations."""
    threshold_F = dictionary.threshold_F
    weights = Weights(
        encoder_FD=dictionary.encoder_DF.T.contiguous(),
        encoder_bias_F=dictionary.encoder_bias_F * scale,
        decoder_FD=dictionary.decoder_FD.clone(),
        decoder_bias_D=dictionary.decoder_bias_D * scale,
    )
    return Coder(weights, None if threshold_F is None else threshold_F * scale, dictionary.k)
