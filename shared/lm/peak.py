"""Model FLOPs utilisation of a device in training (Chowdhery et al. 2022, PaLM, appendix B).

The number is only shown to people. No choice depends on it, so it may rest on a timing.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import torch

from shared.lm.loss import output_weight

# FLOP/s of dense bfloat16 products in the makers' data sheets, by a part of the device's name. The
# first match counts.
PEAKS = (
    ("B200", 2250e12),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
)
SIDE = {"cuda": 8192, "cpu": 512}  # rows of the square matrix product timed on other devices
TRIES = 5  # the fastest counts


def train_flops(model: Any, block: int) -> float:
    """FLOPs to train on one token: 6 N + 12 L H T.

    N: parameters in matrix products, L: layers, H: width of all heads, T: tokens of a block.
    """
    matrices = sum(weight.numel() for weight in model.parameters() if weight.dim() == 2)
    inputs = model.get_input_embeddings().weight
    if inputs is not output_weight(model):  # an embedding look-up is not a product
        matrices -= inputs.numel()
    config = model.config
    heads = config.num_attention_heads
    width = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    return float(6 * matrices + 12 * config.num_hidden_layers * width * block)


@cache
def peak_flops(kind: str, precision: str) -> float:
    """Peak FLOP/s of the device: from its data sheet, else timed on a large product."""
    name = torch.cuda.get_device_name() if kind == "cuda" else ""
    if precision == "bfloat16":
        for part, peak in PEAKS:
            if part in name:
                return peak
    return _timed(kind, torch.bfloat16 if precision == "bfloat16" else torch.float32)


def _timed(kind: str, dtype: torch.dtype) -> float:
    side = SIDE.get(kind, SIDE["cpu"])
    x_SS = torch.ones(side, side, dtype=dtype, device=kind)
    best = float("inf")
    for _ in range(TRIES):
        _wait(kind)
        began = time.perf_counter()
        x_SS @ x_SS
        _wait(kind)
        best = min(best, time.perf_counter() - began)
    return float(2 * side**3 / max(best, 1e-9))


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()
