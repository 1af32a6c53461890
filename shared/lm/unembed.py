"""The effect of a direction at a hook point on the logits, along the direct path.

F: directions, D: width at the hook point, R: width of the residual stream, V: vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shared.lm.families import base_model, block, family, part, projection_weight
from shared.lm.hooks import point
from shared.lm.loss import output_weight

# Large beside the epsilon of any norm, so that it drops out of what the probe reads.
PROBE = 1e4


@torch.no_grad()
def direct_effect(model: Any, hook: str, layer: int, direction_FD: Tensor) -> Tensor:
    """Effect of each direction on each token's logit, float32 [F, V], less its mean over V.

    The direction goes into the residual stream (from mlp_post through the MLP's last linear map),
    then through the weights of the last norm, without its division, then to the output layer. What
    later layers make of it is left out (nostalgebraist 2020, "the logit lens"; Dar et al. 2023,
    arXiv:2209.02535). Only differences between tokens have a meaning, and the scale of a row only
    in comparison with other rows of the same model.
    Raises ValueError where `shared.lm.hooks.point` does, or when the directions' width is wrong.
    """
    place = point(model, hook, layer)
    if direction_FD.shape[-1] != place.width:
        raise ValueError(
            f"the directions have width {direction_FD.shape[-1]}, {hook} has {place.width}"
        )
    x_FR = direction_FD.to(model.device, torch.float32)
    paths = family(model)
    if hook == "mlp_post":
        inside = block(model, layer)
        x_FR = x_FR @ projection_weight(part(inside, paths.projection))
        if paths.mlp_out != paths.projection:  # a norm stands between the MLP and the stream
            x_FR = _through_norm(part(inside, paths.mlp_out), x_FR)
    x_FR = _through_norm(part(base_model(model), paths.norm), x_FR)
    effect_FV = x_FR @ output_weight(model).T
    return effect_FV.sub_(effect_FV.mean(1, keepdim=True))


def _through_norm(norm: Any, x_FR: Tensor) -> Tensor:
    """x_FR, less its mean if the norm subtracts it, times the norm's weights.

    Both are inferred from outputs of the norm: some norms multiply by 1 + weight, some have no
    weight.
    """
    ones_R = torch.ones(x_FR.shape[-1], device=x_FR.device)
    pattern_R = _balanced(ones_R)
    # A norm is odd in its input except for a bias, which the difference of two outputs cancels.
    gain_R: Tensor = (norm(PROBE * pattern_R) - norm(-PROBE * pattern_R)) / (2 * pattern_R)
    centres = (norm(ones_R) - norm(-ones_R)).abs().max() < gain_R.abs().max()
    if centres:
        x_FR = x_FR - x_FR.mean(1, keepdim=True)
    return x_FR * gain_R


def _balanced(ones_R: Tensor) -> Tensor:
    """A vector [R] of mean 0 and root mean square 1 without zeros."""
    signs_R = ones_R.clone()
    signs_R[1::2] = -1
    if len(signs_R) % 2:  # three values that cancel, where pairs leave one over
        signs_R[-3:] = torch.tensor([1.0, 1.0, -2.0], device=ones_R.device)
    return signs_R / signs_R.square().mean().sqrt()
