"""What a language model is shown of a feature.

E: examples of one feature, W: held-out windows of one feature, K: tokens of either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.arrays import BoolArray


@dataclass(frozen=True)
class Examples:
    """Examples of one feature, from even contexts: E of K tokens, with levels 0..9."""

    feature: int
    texts_EK: list[list[str]]
    levels_EK: npt.NDArray[np.integer]


@dataclass(frozen=True)
class HeldOutWindows:
    """Held-out windows of one feature, from odd contexts.

    `marks_WK` are the tokens that are marked for fuzzing. What is true (`active_W`,
    `marked_right_W`) is for the scores, and never part of a prompt.
    """

    texts_WK: list[list[str]]
    active_W: BoolArray
    marks_WK: BoolArray
    marked_right_W: BoolArray
