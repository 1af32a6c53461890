"""Spherical linear interpolation of two tensors.

N: elements of a tensor, all of them in one vector.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Beyond this |cosine| the arc is so short (1.8 degrees), or so undefined, that a line is taken;
# the value that published merges use.
NEARLY_PARALLEL = 0.9995
# Elements that are float64 at once: two pieces of 512 kB stay in a core's cache. A GPU wants more.
PIECE = {"cpu": 2**16, "cuda": 2**24}


@dataclass(frozen=True)
class Slerp:
    """A tensor between two, the cosine of the angle between them, and whether a line was taken.

    `dot` is None when a parent is zero: there is no angle then.
    """

    tensor: Tensor
    dot: float | None
    linear: bool


def slerp(zero: Tensor, one: Tensor, t: float) -> Slerp:
    """The tensor at t on the arc from `zero` (t = 0) to `one` (t = 1), seen as whole vectors.

    Shoemake 1985, "Animating rotation with quaternion curves", equation for Slerp, on vectors of
    any length: directions give the angle, the parents themselves are added up, so norms are
    interpolated too. All sums are float64; the result has the dtype and shape of `zero`. t = 0
    and t = 1 give the parents bit for bit. Linear where a parent is zero or |cosine| > 0.9995.
    Swapping the parents and taking 1 - t changes a value by a rounding at most.
    Raises ValueError for different shapes, dtypes that are not the same floating-point one, or t
    outside [0, 1].
    """
    if zero.shape != one.shape or zero.dtype != one.dtype or not zero.is_floating_point():
        raise ValueError(
            f"cannot interpolate {zero.dtype} {list(zero.shape)} and {one.dtype} {list(one.shape)}"
        )
    if not 0 <= t <= 1:
        raise ValueError(f"t is {t}: it must be between 0 and 1")
    dot = cosine(zero, one)
    at_zero, at_one, linear = coefficients(dot, t)
    if t in (0, 1):
        return Slerp((one if t else zero).clone(), dot, linear)
    mixed = torch.empty_like(zero, memory_format=torch.contiguous_format)
    for target_n, mixed_n in zip(_flat(mixed), mix(zero, one, at_zero, at_one), strict=True):
        target_n.copy_(mixed_n)
    return Slerp(mixed, dot, linear)


def mix(zero: Tensor, one: Tensor, at_zero: float, at_one: float) -> Iterator[Tensor]:
    """at_zero * zero + at_one * one, flat, piece by piece, rounded to the dtype of `zero`.

    A piece is overwritten by the next one.
    """
    rounded_n = zero.new_empty(_piece(zero))
    for zero_n, one_n in _pieces(zero, one):
        yield rounded_n[: len(zero_n)].copy_(zero_n.mul_(at_zero).add_(one_n, alpha=at_one))


def cosine(zero: Tensor, one: Tensor) -> float | None:
    """Cosine of the angle between two tensors as vectors, in float64; None when one is zero."""
    sums_3 = torch.zeros(3, dtype=torch.float64, device=zero.device)
    for zero_n, one_n in _pieces(zero, one):
        sums_3[0] += zero_n @ one_n
        sums_3[1] += zero_n @ zero_n
        sums_3[2] += one_n @ one_n
    product, square_zero, square_one = sums_3.tolist()
    if square_zero == 0 or square_one == 0:
        return None
    ratio = float(product / (math.sqrt(square_zero) * math.sqrt(square_one)))
    return max(-1.0, min(1.0, ratio)) if math.isfinite(ratio) else ratio


def coefficients(dot: float | None, t: float) -> tuple[float, float, bool]:
    """Weights of the two parents at t, and whether they are those of a line.

    sin((1 - t) a) / sin(a) and sin(t a) / sin(a) with a = arccos(dot); 1 - t and t on a line.
    """
    if dot is None or not abs(dot) <= NEARLY_PARALLEL:
        return 1 - t, t, True
    angle = math.acos(dot)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle), False


def _piece(tensor: Tensor) -> int:
    """Elements of a piece of that tensor; all pieces but the last have as many."""
    return min(max(tensor.numel(), 1), PIECE.get(tensor.device.type, PIECE["cpu"]))


def _flat(tensor: Tensor) -> tuple[Tensor, ...]:
    return torch.split(tensor.contiguous().view(-1), _piece(tensor))


def _pieces(zero: Tensor, one: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The two tensors piece by piece, in float64 scratch memory that the next piece overwrites."""
    scratch_2n = torch.empty(2, _piece(zero), dtype=torch.float64, device=zero.device)
    for zero_n, one_n in zip(_flat(zero), _flat(one), strict=True):
        count = len(zero_n)
        yield scratch_2n[0, :count].copy_(zero_n), scratch_2n[1, :count].copy_(one_n)
