"""Hook points: read or replace the activations between two modules of a language model.

B: contexts in a batch, T: tokens of a context, D: width at the hook point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from shared.lm.device import autocast
from shared.lm.families import block, family, part, projection_weight

HOOKS = ("mlp_post", "mlp_out", "attn_out", "resid_pre", "resid_post")


class _Reached(Exception):
    """Raised at the hook point: nothing after it need be computed."""


@dataclass(frozen=True)
class Point:
    """A hook point of one model: the first input (`reads`) or output of a module, `width` wide."""

    module: nn.Module
    reads: bool
    width: int

    def register(self, function: Callable[[Tensor], Tensor]) -> RemovableHandle:
        """Replace x_BTD by function(x_BTD) in every pass until the handle is removed."""
        if self.reads:
            return self.module.register_forward_pre_hook(
                lambda _, inputs: (function(inputs[0]), *inputs[1:])
            )

        def after(_: nn.Module, __: Any, output: Any) -> Any:
            if isinstance(output, tuple):
                return (function(output[0]), *output[1:])
            return function(output)

        return self.module.register_forward_hook(after)


def point(model: nn.Module, hook: str, layer: int) -> Point:
    """The hook point `hook` of a layer.

    mlp_post: what the MLP's last linear map reads. mlp_out, attn_out: what the MLP and the
    attention add to the residual stream. resid_pre, resid_post: the residual stream before and
    after the block.
    Raises ValueError for an unknown hook, a layer out of range, or a model of no known family.
    """
    if hook not in HOOKS:
        raise ValueError(f"hook point {hook!r} is not known: there are {', '.join(HOOKS)}")
    paths, inside = family(model), block(model, layer)
    projection: nn.Module = part(inside, paths.projection)
    inner, residual = projection_weight(projection).shape
    if hook == "mlp_post":
        return Point(projection, True, inner)
    if hook in ("resid_pre", "resid_post"):
        return Point(inside, hook == "resid_pre", residual)
    return Point(part(inside, getattr(paths, hook)), False, residual)


def width(model: nn.Module, hook: str = "mlp_post", layer: int = 0) -> int:
    """D, the number of values per token at the hook point."""
    return point(model, hook, layer).width


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
    place = point(model, hook, layer)
    caught: list[Tensor] = []

    def catch(x_BTD: Tensor) -> Tensor:
        caught.append(x_BTD)
        raise _Reached

    handle = place.register(catch)
    try:
        with autocast(precision, model.device, place.width):
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
    """A context in which forward passes continue with `function(x_BTD)` in place of x_BTD.

    `function` gets and returns the dtype the pass runs in; the identity changes no bit.
    """
    handle = point(model, hook, layer).register(function)
    try:
        yield
    finally:
        handle.remove()
