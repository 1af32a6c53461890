"""What a language model is shown of a feature, and what comes of it.

E: examples of one feature, W: held-out windows of one feature, K: tokens of either.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from shared.arrays import BoolArray


class Reason(StrEnum):
    """Why there is no explanation, no simulation or no verdict: failures are counted by these."""

    EMPTY = "the answer was empty"
    LONG = "the answer was too long"
    CUT = "the answer was cut off"
    REFUSED = "the language model refused"
    BROKEN = "the answer was no completion"
    UNREADABLE = "the answer was not of the form that was asked for"
    SILENT = "the server did not answer this request"
    BUDGET = "the budget had ended"


@dataclass(frozen=True)
class Examples:
    """Examples of one feature, from even contexts: E of K tokens, with levels 0..9."""

    feature: int
    texts_EK: list[list[str]]
    levels_EK: npt.NDArray[np.integer]


@dataclass(frozen=True)
class Held:
    """Held-out windows of one feature, from odd contexts.

    `marks_WK` are the tokens that are marked for fuzzing. What is true (`active_W`,
    `marked_right_W`) is for the scores, and never part of a prompt.
    """

    texts_WK: list[list[str]]
    active_W: BoolArray
    marks_WK: BoolArray
    marked_right_W: BoolArray


@dataclass(frozen=True)
class Answered:
    """What a language model said of one feature.

    `predicted_WK` are levels 0..9, expected values where there were log-probabilities.
    `detected_W` says in which windows the feature was expected, `fuzzed_W` of which marks it was
    said that they are right (False for a window without a mark, which is not asked about). What
    could not be had is None, and `failure` is the first Reason for it.
    """

    feature: int
    explanation: str | None
    predicted_WK: npt.NDArray[np.float32] | None
    detected_W: BoolArray | None
    fuzzed_W: BoolArray | None
    failure: str | None


@dataclass(frozen=True)
class Spent:
    """The answers, one for each feature in the order of the material, and what they cost.

    `requests` and `tokens` (prompt and completion) are those of all attempts at the stage: every
    request that was answered, once. `estimated` says that the server did not tell the tokens of
    some of them. `covered` is the share of the features that were tried before the budget ended; of
    the others the failure is Reason.BUDGET.
    """

    answered: list[Answered]
    requests: int
    tokens: int
    estimated: bool
    covered: float
