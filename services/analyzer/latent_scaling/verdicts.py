"""What the activations of two models show about features that only one dictionary has.

Even two dictionaries of one model differ, so a feature without a match may merely be one that the
other dictionary did not learn. The activations of both models decide (after Minder et al. 2025,
"Robustly identifying concepts introduced during chat fine-tuning using crosscoders", section on
Latent Scaling). For a live feature with activation f and decoder direction d in its own model,

    beta_m = cov(f, <d, x_m>) / (|d|^2 var f),

the least-squares factor of f d in model m's activations x_m. Both are centred over the stream, so
that a constant part of f or x does not count, and x_m is scaled to the same total variance in both
models. ratio = beta_other / beta_own is about 1 where the other model writes the same feature in
the same way, about 0 where it does not. `readable` answers the same question without a common
basis: how well f is predicted linearly from the other model's activations.

N: tokens of a chunk, D: width at the hook point, F: features, L: live features.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from services.analyzer.codes.codes import Codes
from services.analyzer.latent_scaling.moments import Half, Sums, readable, scaling_factors, variance
from shared.arrays import FloatArray, IntArray
from shared.stages.stage import StageError

# The other model counts as having a feature from half its strength on, or when half of the
# feature's variance can be read there (LATENT_SCALING).
LEAST_RATIO = 0.5
LEAST_READABLE = 0.5


@dataclass(frozen=True)
class Side:
    """One model's features: their codes, directions [F, D], match status, and which are live."""

    codes: Codes
    directions_FD: FloatArray
    status_F: npt.NDArray[np.str_]
    live_L: IntArray

    @property
    def width(self) -> int:
        """D, the width of the activations that the dictionary reads."""
        return int(self.directions_FD.shape[1])


@dataclass(frozen=True)
class Measurements:
    """What one model's activations show about its own live features, and about the other's.

    variance: total over the width; own_L: beta of its own features; other_L and readable_L: beta
    and R^2 of the other model's (other_L is NaN where the widths differ).
    """

    variance: float
    own_L: FloatArray
    other_L: FloatArray
    readable_L: FloatArray


def measure(chunks: Iterator[Tensor], own: Side, other: Side, half_T: IntArray) -> Measurements:
    """Read one model's activations once and compare them with both models' features.

    `chunks` are [N, D] in the order of the stream; `half_T` is 0 for tokens that are used to fit, 1
    for those that are used to measure. Raises StageError when activations are not finite.
    """
    at, shift_D = 0, torch.empty(0)
    sums: list[Sums] = []
    for x_ND in chunks:
        if not sums:  # moments about a point near the mean lose no digits
            shift_D = x_ND.mean(0)
            sums = [Sums(s.codes, s.live_L, own.width, x_ND.device) for s in (own, other)]
        if not bool(torch.isfinite(x_ND.sum())):
            raise StageError("the activations of this model are not finite (NaN or infinity)")
        centred_ND = x_ND - shift_D
        half_N = half_T[at : at + len(x_ND)]
        sums[0].add(at, centred_ND, half_N, products=False)
        sums[1].add(at, centred_ND, half_N)
        at += len(x_ND)
    own_halves, other_halves = sums[0].halves(), sums[1].halves()
    return Measurements(
        variance=variance(*other_halves),
        own_L=scaling_factors(*own_halves, own.directions_FD[own.live_L]),
        other_L=_across(other_halves, other, own.width),
        readable_L=readable(*other_halves),
    )


def _across(halves: tuple[Half, Half], other: Side, width: int) -> FloatArray:
    if other.width != width:
        return np.full(len(other.live_L), np.nan)
    return scaling_factors(*halves, other.directions_FD[other.live_L])


@dataclass(frozen=True)
class Verdict:
    """Per feature, NaN where it is rare or a value is undefined; see LATENT_SCALING."""

    status_F: npt.NDArray[np.str_]
    own_F: FloatArray
    other_F: FloatArray
    ratio_F: FloatArray
    readable_F: FloatArray

    def false_change(self, change: str) -> npt.NDArray[np.bool_]:
        """Mask [F] of the features that have that status although the other model has them."""
        # A comparison with NaN is False.
        present_F = (self.ratio_F >= LEAST_RATIO) | (self.readable_F >= LEAST_READABLE)
        false_F: npt.NDArray[np.bool_] = (self.status_F == change) & present_F
        return false_F

    def table(self, change: str) -> pa.Table:
        """The columns of parent.parquet (change: disappear) or child.parquet (emerge)."""

        def column(values_F: FloatArray) -> pa.Array:
            return pa.array(values_F, mask=~np.isfinite(values_F))

        rare_F = self.status_F == "rare"
        return pa.table(
            {
                "feature": np.arange(len(self.status_F)),
                "own": column(self.own_F),
                "other": column(self.other_F),
                "ratio": column(self.ratio_F),
                "readable": column(self.readable_F),
                "false_change": pa.array(self.false_change(change), mask=rare_F),
            }
        )


def judge(side: Side, own: Measurements, other: Measurements, same_basis: bool) -> Verdict:
    """The verdict on the features of one side, from the activations of both models.

    The ratio is NaN unless beta in the feature's own model is positive, and without a common basis,
    where the direction means nothing in the other model (`other` is then NaN too).
    """
    # Activations at total variance 1: the model's own are x / sqrt(own), and f shrinks with them.
    scale = np.sqrt(own.variance / other.variance) if other.variance > 0 else np.nan
    other_L = other.other_L * scale if same_basis else np.full(len(side.live_L), np.nan)
    ratio_L = np.full(len(side.live_L), np.nan)
    np.divide(other_L, own.own_L, out=ratio_L, where=own.own_L > 0)

    def spread(values_L: FloatArray) -> FloatArray:
        values_F = np.full(len(side.status_F), np.nan)
        values_F[side.live_L] = values_L
        return values_F

    return Verdict(
        side.status_F,
        own_F=spread(own.own_L),
        other_F=spread(other_L),
        ratio_F=spread(ratio_L),
        readable_F=spread(other.readable_L),
    )
