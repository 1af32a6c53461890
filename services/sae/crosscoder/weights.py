"""The weights of a crosscoder in training, their start and their file.

A crosscoder is a dictionary on the activations of two models side by side: one feature reads from
both and writes to both (Lindsey et al. 2024, "Sparse Crosscoders for Cross-Layer Features and Model
Diffing"). Both matrices hold one feature per row while training.

N: vectors of a batch, D: width at the hook point, E: 2 D, the parent's D values and then the
child's, F: features.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from services.sae.start import geometric_median

FILE = "crosscoder.safetensors"


@dataclass(frozen=True)
class CrosscoderWeights:
    """Weights of a crosscoder, or anything that has one value for each of them."""

    encoder_FE: Tensor
    encoder_bias_F: Tensor
    decoder_FE: Tensor
    decoder_bias_E: Tensor

    def named(self) -> dict[str, Tensor]:
        """The tensors by name, always in the same order."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def tensors(self) -> list[Tensor]:
        """The tensors in the order of `named`."""
        return list(self.named().values())

    def zeros(self) -> CrosscoderWeights:
        """Tensors of the same shapes, filled with zeros."""
        return CrosscoderWeights(*(torch.zeros_like(tensor) for tensor in self.tensors()))

    @property
    def width(self) -> int:
        """D, the width of one model's activations."""
        return self.decoder_FE.shape[1] // 2

    def norms(self) -> Tensor:
        """Norms [2, F] of the decoder directions in the parent and in the child."""
        decoder_F2D = self.decoder_FE.view(-1, 2, self.width)
        norms_F2: Tensor = torch.linalg.vector_norm(decoder_F2D, dim=2)
        return norms_F2.T.contiguous()

    def save(self, directory: Path, threshold: float, scale_2: Tensor) -> None:
        """Write crosscoder.safetensors: f = ReLU(sum over models of (s x - b) W + b_enc).

        s is the model's entry of `scale_2`; a feature counts where f times the sum of its two
        decoder norms is above the threshold. The same weights give the same bytes.
        """
        features, width = len(self.encoder_bias_F), self.width
        tensors = {
            "encoder_2DF": self.encoder_FE.view(features, 2, width).permute(1, 2, 0),
            "encoder_bias_F": self.encoder_bias_F,
            "decoder_2FD": self.decoder_FE.view(features, 2, width).transpose(0, 1),
            "decoder_bias_2D": self.decoder_bias_E.view(2, width),
            "threshold": torch.tensor(threshold),
            "scale_2": scale_2,
        }
        whole = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_file(whole, directory / FILE)


def start_weights(features: int, x_NE: Tensor, generator: torch.Generator) -> CrosscoderWeights:
    """Random unit directions over both models, the encoder their transpose.

    Each model's decoder bias starts at the geometric median of its vectors, which are at their
    common scale. The generator lives on the CPU, so that a GPU starts from the same weights.
    """
    decoder_FE = torch.randn(features, x_NE.shape[1], generator=generator)
    decoder_FE /= torch.linalg.vector_norm(decoder_FE, dim=1, keepdim=True)
    decoder_FE = decoder_FE.to(x_NE.device)
    halves = x_NE.chunk(2, dim=1)
    return CrosscoderWeights(
        encoder_FE=decoder_FE.clone(),
        encoder_bias_F=torch.zeros(features, device=x_NE.device),
        decoder_FE=decoder_FE,
        decoder_bias_E=torch.cat([geometric_median(half_ND) for half_ND in halves]),
    )
