"""Cosines between decoder directions of two dictionaries that read the same basis.

F: features of the parent, G: of the child, D: width of the hook point.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open

from shared.arrays import BoolArray, Float32Array, FloatArray, IntArray

FILE = "sae_weights.safetensors"
ROWS = 1024  # parent features at a time: 64 MiB of float32 against 16 384


@dataclass(frozen=True)
class Cosines:
    """Unit decoder directions of both sides, [F, D] and [G, D]."""

    parent_FD: Float32Array
    child_GD: Float32Array

    def of(self, parent_E: IntArray, child_E: IntArray) -> FloatArray:
        """Cosine of each pair [E]."""
        parent_ED, child_ED = self.parent_FD[parent_E], self.child_GD[child_E]
        cosine_E: FloatArray = np.einsum("ed,ed->e", parent_ED, child_ED, dtype=np.float64)
        return cosine_E

    def of_best(self, best_F: IntArray, best_G: IntArray) -> tuple[FloatArray, FloatArray]:
        """Cosines [F] and [G] of every feature and its best partner; NaN where it has none."""
        cosine_F, cosine_G = np.full(len(best_F), np.nan), np.full(len(best_G), np.nan)
        paired_F, paired_G = np.flatnonzero(best_F >= 0), np.flatnonzero(best_G >= 0)
        cosine_F[paired_F] = self.of(paired_F, best_F[paired_F])
        cosine_G[paired_G] = self.of(best_G[paired_G], paired_G)
        return cosine_F, cosine_G

    def mutually_highest(self, alive_F: BoolArray, alive_G: BoolArray) -> IntArray:
        """For every live parent feature, the live child feature that is closest, both ways [F].

        It is -1 where the closest child feature is closer to another parent feature.
        """
        live_F, live_G = np.flatnonzero(alive_F), np.flatnonzero(alive_G)
        closest_F = np.full(len(alive_F), -1)
        if len(live_F) == 0 or len(live_G) == 0:
            return closest_F
        child_DG = self.child_GD[live_G].T
        highest_G, owner_G = np.full(len(live_G), -np.inf), np.full(len(live_G), -1)
        best_F = np.empty(len(live_F), np.int64)
        for start in range(0, len(live_F), ROWS):
            cosine_FG = self.parent_FD[live_F[start : start + ROWS]] @ child_DG
            best_F[start : start + ROWS] = cosine_FG.argmax(axis=1)
            row_G = cosine_FG.argmax(axis=0)
            top_G = cosine_FG[row_G, np.arange(len(live_G))]
            better = top_G > highest_G
            highest_G[better], owner_G[better] = top_G[better], row_G[better] + start
        both = np.flatnonzero(owner_G[best_F] == np.arange(len(live_F)))
        closest_F[live_F[both]] = live_G[best_F[both]]
        return closest_F


def load_directions(directory: Path) -> Float32Array:
    """Decoder directions of a dictionary [F, D] at unit norm (a zero direction stays zero)."""
    with safe_open(directory / FILE, framework="numpy") as file:
        decoder_FD = file.get_tensor("W_dec").astype(np.float32)
    norm_F = np.linalg.norm(decoder_FD, axis=1, keepdims=True)
    unit_FD: Float32Array = decoder_FD / np.where(norm_F > 0, norm_F, 1)
    return unit_FD
