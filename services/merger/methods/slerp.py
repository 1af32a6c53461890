"""Spherical linear interpolation of two tensors.

n: elements of a span of a tensor, which counts as one vector; S: spans.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

from services.merger.methods.base import Notes, Sink

# Beyond this |cosine| the arc is so short (1.8 degrees), or so undefined, that a line is taken;
# the value that published merges use.
NEARLY_PARALLEL = 0.9995
# Elements that are float64 at once: two pieces of 256 kB stay in a core's cache.
PIECE = 2**15
# Elements that one thread works through alone. With torch's own threads, which meet after every
# small operation, a merge took 100 times as long on a busy machine. Sums are added up span by span
# in order, so their bits do not depend on the number of threads.
SPAN = 2**20
GPU_PIECE = 2**24
Result = TypeVar("Result")


def combine(parents: Sequence[Tensor], sink: Sink, *, t: float) -> Notes:
    """The tensor at t on the arc from the first parent (t = 0) to the second (t = 1).

    The parents are seen as whole vectors. Shoemake 1985, "Animating rotation with quaternion
    curves", equation for Slerp, on vectors of any length: directions give the angle, the parents
    themselves are added up, so norms are interpolated too. All sums are float64; the result has the
    dtype of the parents. t = 0 and t = 1 give the parents bit for bit. Linear where a parent is
    zero or |cosine| > 0.9995. Swapping the parents and taking 1 - t changes a value by a rounding
    at most. Notes: `dot`, the cosine of the angle between the parents (None when one is zero:
    there is no angle then), `angle_degrees` and `linear`.
    Raises ValueError for different shapes, dtypes that are not the same floating-point one, or t
    outside [0, 1].
    """
    zero, one = parents
    if zero.shape != one.shape or zero.dtype != one.dtype or not zero.is_floating_point():
        raise ValueError(
            f"cannot interpolate {zero.dtype} {list(zero.shape)} and {one.dtype} {list(one.shape)}"
        )
    if not 0 <= t <= 1:
        raise ValueError(f"t is {t}: it must be between 0 and 1")
    dot = cosine(zero, one)
    at_zero, at_one, linear = coefficients(dot, t)
    if t in (0, 1):
        sink(0, one if t else zero)
    else:
        mix(zero, one, at_zero, at_one, sink)
    angle = math.degrees(math.acos(dot)) if dot is not None and math.isfinite(dot) else None
    return {"dot": dot, "angle_degrees": angle, "linear": linear}


def mix(zero: Tensor, one: Tensor, at_zero: float, at_one: float, sink: Sink) -> None:
    """Compute at_zero * zero + at_one * one, rounded to the dtype of `zero`, piece by piece."""

    def mix_span(start: int, zero_n: Tensor, one_n: Tensor) -> None:
        rounded_n = zero_n.new_empty(min(len(zero_n), _piece(zero_n)))
        for wide_2n in _pieces(zero_n, one_n):
            piece = rounded_n[: wide_2n.shape[1]]
            sink(start, piece.copy_(wide_2n[0].mul_(at_zero).add_(wide_2n[1], alpha=at_one)))
            start += len(piece)

    for _ in _over_spans(mix_span, zero, one):
        pass


def cosine(zero: Tensor, one: Tensor) -> float | None:
    """Cosine of the angle between two tensors as vectors, in float64; None when one is zero."""
    sums_S22 = torch.stack(list(_over_spans(_products, zero, one)))
    (square_zero, product), (_, square_one) = sums_S22.sum(0).tolist()
    if square_zero == 0 or square_one == 0:
        return None
    ratio = float(product / (math.sqrt(square_zero) * math.sqrt(square_one)))
    return max(-1.0, min(1.0, ratio)) if math.isfinite(ratio) else ratio


def _products(_: int, zero_n: Tensor, one_n: Tensor) -> Tensor:
    """All scalar products of two spans with each other and themselves, float64 [2, 2]."""
    sums_22 = torch.zeros(2, 2, dtype=torch.float64, device=zero_n.device)
    for wide_2n in _pieces(zero_n, one_n):
        sums_22.addmm_(wide_2n, wide_2n.T)
    return sums_22


def coefficients(dot: float | None, t: float) -> tuple[float, float, bool]:
    """Weights of the two parents at t, and whether they are those of a line.

    sin((1 - t) a) / sin(a) and sin(t a) / sin(a) with a = arccos(dot); 1 - t and t on a line.
    """
    if dot is None or not abs(dot) <= NEARLY_PARALLEL:
        return 1 - t, t, True
    angle = math.acos(dot)
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle), False


def _over_spans(
    function: Callable[[int, Tensor, Tensor], Result], zero: Tensor, one: Tensor
) -> Iterator[Result]:
    """Apply the function to each span (its place, both tensors' values); results come in order.

    On a CPU by as many threads as torch has, each working through a span by itself.
    """
    size = SPAN if zero.is_cpu else GPU_PIECE
    zeros, ones = (torch.split(tensor.contiguous().view(-1), size) for tensor in (zero, one))
    places = range(0, len(zeros) * size, size)
    if not zero.is_cpu:
        yield from map(function, places, zeros, ones)
        return
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(function, places, zeros, ones)
    finally:
        torch.set_num_threads(threads)  # what a thread sets is also the default of later threads


def _piece(tensor: Tensor) -> int:
    """Elements of a piece; all pieces of a span but the last have as many."""
    return PIECE if tensor.is_cpu else GPU_PIECE


def _pieces(zero_n: Tensor, one_n: Tensor) -> Iterator[Tensor]:
    """Two spans piece by piece as float64 [2, n], in memory that the next piece overwrites."""
    size = min(len(zero_n), _piece(zero_n))
    scratch_2n = torch.empty(2, size, dtype=torch.float64, device=zero_n.device)
    pieces = (torch.split(span, _piece(zero_n)) for span in (zero_n, one_n))
    for zero_piece, one_piece in zip(*pieces, strict=True):
        wide_2n = scratch_2n[:, : len(zero_piece)]
        wide_2n[0].copy_(zero_piece)
        wide_2n[1].copy_(one_piece)
        yield wide_2n
