"""Read and write the files of SAELens 6: cfg.json beside sae_weights.safetensors.

Every dictionary that is read becomes f = ReLU or JumpReLU or top-k of (x - b_dec) W_enc + b_enc
with x_hat = f W_dec + b_dec. Anything else that a file asks for is folded into these weights
exactly, or refused. The formulas are those of sae-lens 6.54.

D: width at the hook point, F: features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# The version of cfg.json's layout that is written here.
LAYOUT = "6.0.0"
# TransformerLens' names, which SAELens uses, for our hook points.
HOOK_NAMES = {
    "mlp_post": "blocks.{layer}.mlp.hook_post",
    "mlp_out": "blocks.{layer}.hook_mlp_out",
    "attn_out": "blocks.{layer}.hook_attn_out",
    "resid_pre": "blocks.{layer}.hook_resid_pre",
    "resid_post": "blocks.{layer}.hook_resid_post",
}
WEIGHTS = {
    "standard": ("W_enc", "b_enc", "W_dec", "b_dec"),
    "jumprelu": ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"),
    "topk": ("W_enc", "b_enc", "W_dec", "b_dec"),
    "gated": ("W_enc", "b_mag", "b_gate", "r_mag", "W_dec", "b_dec"),
}


@dataclass(frozen=True)
class Plain:
    """Weights in float32, and the hook and layer that the file names ("" and 0 if it does not)."""

    encoder_DF: Tensor
    encoder_bias_F: Tensor
    decoder_FD: Tensor
    decoder_bias_D: Tensor
    threshold_F: Tensor | None
    k: int | None
    hook: str
    layer: int


def configuration(
    width: int, features: int, hook: str, layer: int, jump: bool, k: int | None
) -> dict[str, Any]:
    """The cfg.json of a dictionary; ValueError for a hook that SAELens has no name for."""
    if hook not in HOOK_NAMES:
        raise ValueError(f"hook point {hook!r} has no name in SAELens' files")
    config: dict[str, Any] = {
        "architecture": "topk" if k is not None else "jumprelu" if jump else "standard",
        "d_in": width,
        "d_sae": features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": LAYOUT,
            "hook_name": HOOK_NAMES[hook].format(layer=layer),
            "hook": hook,
            "layer": layer,
        },
    }
    if k is not None:
        config |= {"k": k, "rescale_acts_by_decoder_norm": False}
    return config


def plain(config: Mapping[str, Any], tensors: Mapping[str, Tensor], scale: float | None) -> Plain:
    """A plain dictionary from the contents of its files.

    `scale` is the factor of "expected_average_only_in", where a file holds it.
    Raises ValueError, naming the field or the tensor, for what cannot be folded.
    """
    config = _modern(config)
    architecture = config.get("architecture")
    _check_config(config, scale)
    _check_tensors(str(architecture), tensors)
    w = {name: tensor.float() for name, tensor in tensors.items()}
    threshold_F = w.get("threshold") if architecture == "jumprelu" else None
    if architecture == "gated":
        threshold_F = _ungate_(w)
    if scale is not None and config["normalize_activations"] == "expected_average_only_in":
        # The encoder reads scale * x and the decoder writes scale * x_hat.
        w["W_enc"], w["W_dec"] = w["W_enc"] * scale, w["W_dec"] / scale
        w["b_dec"] = w["b_dec"] / scale
    if architecture == "topk" and config.get("rescale_acts_by_decoder_norm", False):
        _fold_norms_(w)
    if not config.get("apply_b_dec_to_input", True):
        w["b_enc"] = w["b_enc"] + w["b_dec"] @ w["W_enc"]
    hook, layer = place(config.get("metadata", {}))
    return Plain(
        encoder_DF=w["W_enc"],
        encoder_bias_F=w["b_enc"],
        decoder_FD=w["W_dec"],
        decoder_bias_D=w["b_dec"],
        threshold_F=threshold_F,
        k=int(config["k"]) if architecture == "topk" else None,
        hook=hook,
        layer=layer,
    )


def place(metadata: Mapping[str, Any]) -> tuple[str, int]:
    """Hook point and layer; a hook name of SAELens that has no equivalent is kept, with layer 0."""
    if metadata.get("hook") in HOOK_NAMES:
        return str(metadata["hook"]), int(metadata.get("layer", 0))
    name = str(metadata.get("hook_name") or "")
    for hook, template in HOOK_NAMES.items():
        pattern = re.escape(template).replace(r"\{layer\}", r"(\d+)")
        if (match := re.fullmatch(pattern, name)) is not None:
            return hook, int(match[1])
    return name, 0


def _modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """cfg.json with the names of version 6; older versions have everything at the top level."""
    hook_name = config.get("hook_name", config.get("hook_point"))
    modern = {"metadata": {"hook_name": hook_name}, **config}
    modern["architecture"] = config.get("architecture", "standard")
    activation = config.get("activation_fn_str", config.get("activation_fn"))
    if "k" not in config and activation == "topk":
        modern |= {"architecture": "topk", "k": (config.get("activation_fn_kwargs") or {}).get("k")}
    normalised = config.get("normalize_activations") or "none"
    modern["normalize_activations"] = (
        "expected_average_only_in" if normalised is True else normalised
    )
    return modern


def _check_config(config: Mapping[str, Any], scale: float | None) -> None:
    architecture, normalised = config["architecture"], config["normalize_activations"]
    if architecture not in WEIGHTS:
        raise ValueError(
            f"cfg.json: architecture is {architecture!r}, only {', '.join(WEIGHTS)} are read"
        )
    k = config.get("k")
    if architecture == "topk" and not (isinstance(k, int) and k > 0):
        raise ValueError(f"cfg.json: k is {k!r}, a topk dictionary needs a whole number above 0")
    if config.get("reshape_activations", "none") not in ("none", None):
        raise ValueError("cfg.json: reshape_activations is set, only dictionaries without are read")
    if normalised == "expected_average_only_in" and scale is None:
        raise ValueError(
            "cfg.json: normalize_activations is 'expected_average_only_in', but no file holds its "
            "factor: fold it with sae-lens' fold_activation_norm_scaling_factor first"
        )
    if normalised not in ("none", "expected_average_only_in"):
        raise ValueError(
            f"cfg.json: normalize_activations is {normalised!r}, which differs from token to token "
            "and cannot be folded into the weights"
        )


def _check_tensors(architecture: str, tensors: Mapping[str, Tensor]) -> None:
    missing = set(WEIGHTS[architecture]) - tensors.keys()
    if missing:
        raise ValueError(f"sae_weights.safetensors lacks {', '.join(sorted(missing))}")
    factor = tensors.get("scaling_factor")
    if factor is not None and not torch.allclose(factor.float(), torch.ones(())):
        raise ValueError("sae_weights.safetensors: scaling_factor is not 1: fine-tuned scales are "
                         "not read")  # fmt: skip
    shape = tuple(tensors["W_enc"].shape)
    if len(shape) != 2:
        raise ValueError(f"sae_weights.safetensors: W_enc has the shape {shape}, not two axes")
    for name in WEIGHTS[architecture]:
        expected = {"W_enc": shape, "W_dec": shape[::-1], "b_dec": shape[:1]}.get(name, shape[1:])
        if tuple(tensors[name].shape) != expected:
            raise ValueError(
                f"dictionary weights do not fit together: {name} is {tuple(tensors[name].shape)}, "
                f"W_enc {shape} asks for {expected}"
            )


def _ungate_(w: dict[str, Tensor]) -> Tensor:
    """Turn a gated dictionary into a JumpReLU one in place; returns the threshold [F].

    The gate opens where x W + b_gate > 0, the magnitude is exp(r) x W + b_mag: the gate is open
    where the magnitude before its ReLU is above b_mag - exp(r) b_gate (Rajamanoharan et al. 2024,
    "Improving Dictionary Learning with Gated Sparse Autoencoders", appendix on weight tying).
    """
    gain_F = w["r_mag"].exp()
    w["W_enc"], w["b_enc"] = w["W_enc"] * gain_F, w["b_mag"]
    return w["b_mag"] - gain_F * w["b_gate"]


def _fold_norms_(w: dict[str, Tensor]) -> None:
    """Scale features by their decoder's norm in place: the k largest are chosen by their effect."""
    norm_F = w["W_dec"].norm(dim=1)
    w["W_enc"], w["b_enc"] = w["W_enc"] * norm_F, w["b_enc"] * norm_F
    w["W_dec"] = w["W_dec"] / norm_F.clamp(min=1e-8)[:, None]
