"""Attention on a CPU, with the kernels that are fast there.

torch's CPU kernels for attention, 32 contexts of 128 tokens, 4 heads of 32, forward + backward, one
core of Zen 4 (AVX-512 with bf16, no AMX): bfloat16 43 ms, float32 18 ms, but float32 after
set_float32_matmul_precision("medium") 68 ms. At the paper's 8 x 256 with 16 heads: 79, 61, 110 ms.
The setting pays for the large products of a model (shared.lm.device), so only attention runs
without it. Attention runs in float32 even in a bfloat16 pass: that is faster and more exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from shared.lm.device import fast_float32

NAME = "lineament_cpu"


def use_cpu_attention(model: Any) -> None:
    """Replace a model's "sdpa" attention with this file's, where this one is faster.

    The results are those of sdpa in float32; the replacement is not saved with the model.
    """
    sdpa = getattr(model.config, "_attn_implementation", None) == "sdpa"
    if sdpa and model.device.type == "cpu" and fast_float32():
        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """An attention function for transformers; the output has the query's dtype."""
    with torch.autocast("cpu", enabled=False):
        wide = (query.float(), key.float(), value.float())
        output: Tensor = _Attention.apply(module, attention_mask, settings, *wide)  # type: ignore[no-untyped-call]
    return output.to(query.dtype), None


class _Attention(torch.autograd.Function):
    """sdpa whose backward pass also runs under `_plain_products`, for which it keeps a graph."""

    @staticmethod
    def forward(
        ctx: Any,
        module: nn.Module,
        attention_mask: Tensor | None,
        settings: dict[str, Any],
        *inputs: Tensor,
    ) -> Tensor:
        with torch.enable_grad() if any(ctx.needs_input_grad) else torch.no_grad():
            leaves = [x.detach().requires_grad_(x.requires_grad) for x in inputs]
            with _plain_products():
                output: Tensor
                output, _ = sdpa_attention_forward(module, *leaves, attention_mask, **settings)
        ctx.graph = (output, leaves)
        return output.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        output, leaves = ctx.graph
        with _plain_products():
            input_grads = torch.autograd.grad(output, leaves, grads[0])
        return None, None, None, *input_grads


@contextmanager
def _plain_products() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
