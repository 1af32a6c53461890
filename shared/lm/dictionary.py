"""The inference side of a dictionary: activations to features and back.

The files are those of SAELens (`cfg.json`, `sae_weights.safetensors`), so that
`sae_lens.SAE.load_from_disk` reads an exported dictionary as it is.

N: tokens (any number of leading axes), D: width at the hook point, F: features.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

CONFIG = "cfg.json"
WEIGHTS = "sae_weights.safetensors"
# The layout of cfg.json that is written here is that of SAELens 6.
SAELENS_LAYOUT = "6.0.0"
# TransformerLens' names, which SAELens uses, for our hook points.
SAELENS_HOOKS = {"mlp_post": "blocks.{layer}.mlp.hook_post"}


@dataclass(frozen=True)
class Dictionary:
    """f = ReLU((x - b_dec) W_enc + b_enc) and x_hat = f W_dec + b_dec, on raw activations x.

    (Bricken et al. 2023, "Towards Monosemanticity", section Sparse Autoencoders.)
    """

    encoder_DF: Tensor
    encoder_bias_F: Tensor
    decoder_FD: Tensor
    decoder_bias_D: Tensor
    hook: str
    layer: int

    def __post_init__(self) -> None:
        d, f = self.encoder_DF.shape
        shapes = {
            "b_enc": (self.encoder_bias_F, (f,)),
            "W_dec": (self.decoder_FD, (f, d)),
            "b_dec": (self.decoder_bias_D, (d,)),
        }
        for name, (tensor, expected) in shapes.items():
            if tuple(tensor.shape) != expected:
                raise ValueError(
                    f"dictionary weights do not fit together: {name} is {tuple(tensor.shape)}, "
                    f"W_enc {(d, f)} asks for {expected}"
                )

    @property
    def width(self) -> int:
        """D, the width at the hook point."""
        return self.encoder_DF.shape[0]

    @property
    def features(self) -> int:
        """F, the number of features."""
        return self.encoder_DF.shape[1]

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
            return (centred_ND @ self.encoder_DF).add_(self.encoder_bias_F).relu_()

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
        # `save_file` refuses views that share memory, hence the copies.
        whole = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        save_file(
            {name: tensor.contiguous() for name, tensor in whole.items()}, directory / WEIGHTS
        )
        config = json.dumps(self._config(), indent=2, sort_keys=True)
        (directory / CONFIG).write_text(config + "\n", encoding="utf-8")

    def _config(self) -> dict[str, Any]:
        return {
            "architecture": "standard",
            "d_in": self.width,
            "d_sae": self.features,
            "dtype": "float32",
            "device": "cpu",
            "apply_b_dec_to_input": True,
            "normalize_activations": "none",
            "reshape_activations": "none",
            "metadata": {
                "sae_lens_version": SAELENS_LAYOUT,
                "hook_name": SAELENS_HOOKS[self.hook].format(layer=self.layer),
                "hook": self.hook,
                "layer": self.layer,
            },
        }


def load_dictionary(directory: Path, device: torch.device | None = None) -> Dictionary:
    """Read a dictionary that `Dictionary.save` wrote, weights in float32 on `device` (CPU).

    Raises ValueError, naming the directory's file, when it holds no dictionary of this kind.
    """
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(directory / WEIGHTS, device=str(device or "cpu"))
    except (OSError, SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{directory} holds no dictionary: {error}") from error
    expected = {
        "architecture": "standard",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
    }
    for name, value in expected.items():
        if config.get(name) != value:
            raise ValueError(f"{CONFIG}: {name} is {config.get(name)!r}, only {value!r} is read")
    missing = {"W_enc", "b_enc", "W_dec", "b_dec"} - tensors.keys()
    if missing:
        raise ValueError(f"{WEIGHTS} lacks {', '.join(sorted(missing))}")
    metadata = config.get("metadata", {})
    return Dictionary(
        encoder_DF=tensors["W_enc"].float(),
        encoder_bias_F=tensors["b_enc"].float(),
        decoder_FD=tensors["W_dec"].float(),
        decoder_bias_D=tensors["b_dec"].float(),
        hook=metadata.get("hook", "mlp_post"),
        layer=int(metadata.get("layer", 0)),
    )
