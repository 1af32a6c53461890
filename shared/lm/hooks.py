"""Hook points: read or replace what flows between two modules of a language model.

B: contexts in a batch, T: tokens of a context, D: width at the hook point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from shared.lm.device import autocast


class _Reached(Exception):
    """Thrown at the hook point: nothing behind it is wanted."""


def hook_module(model: nn.Module, hook: str, layer: int) -> nn.Linear:
    """The module whose input is the hook point; `mlp_post` is the input of `mlp.down_proj`.

    Raises ValueError for an unknown hook, a layer out of range, or a model whose layers are not
    built like Llama's and Mistral's.
    """
    if hook != "mlp_post":
        raise ValueError(f"hook point {hook!r} is not known: there is only mlp_post")
    layers = getattr(getattr(model, "base_model", model), "layers", None)
    if layers is None:
        raise ValueError(f"{type(model).__name__} has no `layers`: mlp_post cannot be found in it")
    if not 0 <= layer < len(layers):
        raise ValueError(f"layer {layer} is out of range: the model has {len(layers)} layers")
    module = getattr(getattr(layers[layer], "mlp", None), "down_proj", None)
    if not isinstance(module, nn.Linear):
        name = type(model).__name__
        raise ValueError(f"{name} has no `mlp.down_proj` in its layers: mlp_post is its input")
    return module


def width(model: nn.Module, hook: str = "mlp_post", layer: int = 0) -> int:
    """D, the number of values per token at the hook point."""
    return hook_module(model, hook, layer).in_features


@torch.no_grad()
def activations(
    model: Any,
    tokens_BT: Tensor,
    hook: str = "mlp_post",
    layer: int = 0,
    precision: str = "float32",
) -> Tensor:
    """Activations at the hook point, float32 [B, T, D] on the model's device.

    The forward pass ends at the hook point: no later layer and no logits are computed.
    """
    module = hook_module(model, hook, layer)
    caught: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        caught.append(inputs[0])
        raise _Reached

    handle = module.register_forward_pre_hook(catch)
    try:
        with autocast(precision, model.device, width(model, hook, layer)):
            model.base_model(input_ids=tokens_BT.to(model.device), use_cache=False)
    except _Reached:
        pass
    finally:
        handle.remove()
    return caught[0].float()


@contextmanager
def replace(
    model: nn.Module, hook: str, layer: int, function: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    """While open, forward passes go on with `function(x_BTD)` in place of the activation x_BTD.

    `function` gets and returns the dtype the pass runs in; the identity changes no bit.
    """
    module = hook_module(model, hook, layer)

    def swap(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (function(inputs[0]), *inputs[1:])

    handle = module.register_forward_pre_hook(swap)
    try:
        yield
    finally:
        handle.remove()
