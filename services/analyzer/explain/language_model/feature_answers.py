"""What a language model answered about features, or why it did not, and what that cost.

W: held-out windows of one feature, K: tokens of a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.arrays import BoolArray, Float32Array


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
class FeatureAnswers:
    """What a language model said of one feature.

    `predicted_WK` are levels 0..9, expected values where there were log-probabilities. `verdicts`
    has, by the name of each score that asks a yes-or-no question about windows, the answers [W];
    False for a window that is not asked about. What could not be had is None, and `failure` is the
    first Reason for it.
    """

    feature: int
    explanation: str | None
    predicted_WK: Float32Array | None
    verdicts: Mapping[str, BoolArray | None]
    failure: str | None


@dataclass(frozen=True)
class Answers:
    """The answers about all features, in the order in which these were given, and their cost.

    `requests` and `tokens` (prompt and completion) are those of all attempts at the stage: every
    request that was answered, once. `estimated` says that the server did not count the tokens of
    some of them. `covered` is the share of the features that were tried before the budget ended; of
    the others the failure is Reason.BUDGET.
    """

    features: list[FeatureAnswers]
    requests: int
    tokens: int
    estimated: bool
    covered: float
