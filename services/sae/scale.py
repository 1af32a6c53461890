"""Where a dictionary starts: the common scale of activations and their geometric median.

N: activation vectors, D: width at the hook point.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def activation_scale(x_ND: Tensor) -> float:
    """The factor after which the mean squared norm of the vectors is D, their width.

    With it one l1 coefficient means the same for all models and layers.
    Raises ValueError when the activations are all zero or not finite.
    """
    mean_square = float(x_ND.double().square().mean())
    if not math.isfinite(mean_square) or mean_square <= 0:
        raise ValueError("the activations at the hook point are all zero or not finite")
    return 1 / math.sqrt(mean_square)


def geometric_median(x_ND: Tensor, iterations: int = 100, tolerance: float = 1e-6) -> Tensor:
    """The point [D] with the least mean Euclidean distance to the vectors.

    Weiszfeld's algorithm (1937), started at the mean; it ends when a step is shorter than
    `tolerance` times the mean distance. A vector that the point comes to lie on has its weight
    bounded instead of infinite.
    """
    point_D = x_ND.mean(0)
    for _ in range(iterations):
        distance_N = torch.linalg.vector_norm(x_ND - point_D, dim=1)
        typical = float(distance_N.mean())
        if typical == 0:
            break
        weight_N = 1 / distance_N.clamp_min(1e-6 * typical)
        following_D = (weight_N @ x_ND) / weight_N.sum()
        moved = float(torch.linalg.vector_norm(following_D - point_D))
        point_D = following_D
        if moved <= tolerance * typical:
            break
    return point_D
