"""The inference side of a dictionary: activations to features and back.

The files are those of SAELens (`cfg.json`, `sae_weights.safetensors`), so that
`sae_lens.SAE.load_from_disk` reads an exported dictionary as it is. Files that SAELens saved are
read too (shared.lm.saelens).

N: tokens (any number of leading axes), D: width at the hook point, F: features.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.lm import saelens

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
# Where SAELens stores the factor by which it scaled activations in training.
SCALER = "activation_scaler.json"


@dataclass(frozen=True)
class Dictionary:
    """x_hat = f W_dec + b_dec with f from pre = (x - b_dec) W_enc + b_enc, on raw activations x.

    f is ReLU(pre) (Bricken et al. 2023, "Towards Monosemanticity", section Sparse Autoencoders);
    with `threshold_F` pre where it is above both the threshold and 0, else 0 (JumpReLU,
    Rajamanoharan et al. 2024, arXiv:2407.14435, equation 3); with `k` the k largest of ReLU(pre)
    per token (Gao et al. 2024, arXiv:2406.04093, equation 3).
    """

    encoder_DF: Tensor
    encoder_bias_F: Tensor
    decoder_FD: Tensor
    decoder_bias_D: Tensor
    hook: str
    layer: int
    threshold_F: Tensor | None = None
    k: int | None = None

    def __post_init__(self) -> None:
        d, f = self.encoder_DF.shape
        shapes = {
            "b_enc": (self.encoder_bias_F, (f,)),
            "W_dec": (self.decoder_FD, (f, d)),
            "b_dec": (self.decoder_bias_D, (d,)),
        }
        if self.threshold_F is not None:
            shapes["threshold"] = (self.threshold_F, (f,))
        for name, (tensor, expected) in shapes.items():
            if tuple(tensor.shape) != expected:
                raise ValueError(
                    f"dictionary weights do not fit together: {name} is {tuple(tensor.shape)}, "
                    f"W_enc {(d, f)} asks for {expected}"
                )
        if self.k is not None and self.threshold_F is not None:
            raise ValueError("a dictionary has a threshold or k, not both")
        if self.k is not None and not 1 <= self.k <= f:
            raise ValueError(f"k is {self.k}: it must be between 1 and the {f} features")

    @property
    def width(self) -> int:
        """D, the width at the hook point."""
        return self.encoder_DF.shape[0]

    @property
    def features(self) -> int:
        """F, the number of features."""
        return self.encoder_DF.shape[1]

    @property
    def variant(self) -> str:
        """The activation that makes features sparse at inference: relu, jumprelu or topk."""
        if self.k is not None:
            return "topk"
        return "relu" if self.threshold_F is None else "jumprelu"

    @torch.no_grad()
    def encode(self, x_ND: Tensor) -> Tensor:
        """Feature activations f_NF >= 0 of raw activations x_ND, in float32.

        Raises ValueError when the last axis is not D.
        """
        if x_ND.shape[-1] != self.width:
            raise ValueError(
                f"the dictionary was trained at width {self.width}, "
                f"the activations have width {x_ND.shape[-1]}"
            )
        with torch.autocast(self.encoder_DF.device.type, enabled=False):
            centred_ND = x_ND.float() - self.decoder_bias_D
            f_NF = (centred_ND @ self.encoder_DF).add_(self.encoder_bias_F)
        if self.threshold_F is not None:
            return f_NF.masked_fill_(f_NF <= self.threshold_F.clamp(min=0), 0)
        f_NF.relu_()
        return f_NF if self.k is None else _largest(f_NF, self.k)

    @torch.no_grad()
    def decode(self, f_NF: Tensor) -> Tensor:
        """Reconstructed activations x_ND in float32, in the units of the raw ones."""
        with torch.autocast(self.encoder_DF.device.type, enabled=False):
            return (f_NF.float() @ self.decoder_FD).add_(self.decoder_bias_D)

    def save(self, directory: Path) -> None:
        """Write cfg.json and sae_weights.safetensors; the same weights give the same bytes."""
        tensors = {
            "W_enc": self.encoder_DF,
            "b_enc": self.encoder_bias_F,
            "W_dec": self.decoder_FD,
            "b_dec": self.decoder_bias_D,
        }
        if self.threshold_F is not None:
            tensors["threshold"] = self.threshold_F
        # `save_file` refuses views that share memory, hence the copies.
        whole = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        save_file(
            {name: tensor.contiguous() for name, tensor in whole.items()}, directory / WEIGHTS
        )
        config = saelens.configuration(
            self.width, self.features, self.hook, self.layer, self.threshold_F is not None, self.k
        )
        text = json.dumps(config, indent=2, sort_keys=True)
        (directory / CONFIG).write_text(text + "\n", encoding="utf-8")


def _largest(f_NF: Tensor, k: int) -> Tensor:
    """f with all but the k largest values of each token set to 0."""
    values_Nk, features_Nk = f_NF.topk(k, dim=-1, sorted=False)
    return torch.zeros_like(f_NF).scatter_(-1, features_Nk, values_Nk)


def load_dictionary(directory: Path, device: torch.device | None = None) -> Dictionary:
    """Read a dictionary that `Dictionary.save` or SAELens wrote: float32, on `device` (or CPU).

    Gated dictionaries are converted to JumpReLU, and what SAELens does around the plain formula is
    folded into the weights. Where the files do not name them, the hook is "" and the layer 0.
    Raises ValueError, naming the file, when it holds no dictionary that can be read exactly.
    """
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(directory / WEIGHTS, device=str(device or "cpu"))
        scaler = directory / SCALER
        scale = json.loads(scaler.read_text())["scaling_factor"] if scaler.exists() else None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{directory} holds no dictionary: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{directory} holds no dictionary: {CONFIG} is not an object")
    read = saelens.plain(config, tensors, None if scale is None else float(scale))
    return Dictionary(
        encoder_DF=read.encoder_DF,
        encoder_bias_F=read.encoder_bias_F,
        decoder_FD=read.decoder_FD,
        decoder_bias_D=read.decoder_bias_D,
        hook=read.hook,
        layer=read.layer,
        threshold_F=read.threshold_F,
        k=read.k,
    )
