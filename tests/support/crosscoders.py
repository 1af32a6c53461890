"""Parameters and toy worlds for the tests of crosscoders.

N: vectors, D: width of one model, E: both widths, F: features, G: true features of a toy world.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from services.sae.crosscoder.weights import CrosscoderWeights
from services.sae.start import activation_scale
from shared.stages.sae import CrosscoderParameters
from tests.support.dictionaries import CONTEXT


def crosscoder_parameters(**changes: Any) -> CrosscoderParameters:
    """Small parameters of a `crosscoder` stage on two tiny models."""
    values: dict[str, Any] = {
        "layer": 1,
        "features": 64,
        "k": 4,
        "learning_rate": 1e-3,
        "warmup_steps": 5,
        "learning_rate_decay": 0.2,
        "betas": (0.9, 0.999),
        "tokens": 40 * 8 * CONTEXT,
        "context": CONTEXT,
        "batch": 8,
        "dead_after_steps": 3,
        "scaling_tokens": 400,
        "seed": 1337,
    }
    return CrosscoderParameters.model_validate({**values, **changes})


def random_crosscoder(features: int, width: int, seed: int = 0) -> CrosscoderWeights:
    """Weights that are no one's transpose, with unit decoder rows of unequal halves."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*sizes: int) -> Tensor:
        return torch.randn(sizes, generator=generator)

    share_F1 = torch.rand(features, 1, generator=generator)
    decoder_FE = torch.cat(
        [normal(features, width) * share_F1, normal(features, width) * (1 - share_F1)], dim=1
    )
    return CrosscoderWeights(
        encoder_FE=normal(features, 2 * width) / (2 * width) ** 0.5,
        encoder_bias_F=0.1 * normal(features),
        decoder_FE=decoder_FE / decoder_FE.norm(dim=1, keepdim=True),
        decoder_bias_E=0.1 * normal(2 * width),
    )


class ToyPair:
    """Two toy models that share features, in other directions, and have some of their own.

    Unit directions in D dimensions each, p = .02, magnitudes 1 + Exp(1), the same for both models.
    """

    def __init__(self, seed: int, shared: int = 96, own: int = 16, width: int = 64) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.kinds = ["shared"] * shared + ["parent"] * own + ["child"] * own
        halves = []
        for missing in ("child", "parent"):
            half_GD = torch.randn(len(self.kinds), width, generator=self._generator)
            half_GD /= half_GD.norm(dim=1, keepdim=True)
            half_GD[[kind == missing for kind in self.kinds]] = 0
            halves.append(half_GD)
        sample = self.codes(4096)
        scales = [activation_scale(sample @ half_GD) for half_GD in halves]
        self.directions_GE = torch.cat(
            [half_GD * scale for half_GD, scale in zip(halves, scales, strict=True)], dim=1
        )

    def codes(self, n: int) -> Tensor:
        """True activations [N, G] of n tokens."""
        sizes = (n, len(self.kinds))
        on_NG = torch.rand(sizes, generator=self._generator) < 0.02
        uniform_NG = torch.rand(sizes, generator=self._generator).clamp_min(1e-9)
        return on_NG * (1 - uniform_NG.log())

    def draw(self, n: int) -> Tensor:
        """n vectors [N, E] at their common scale."""
        return self.codes(n) @ self.directions_GE
