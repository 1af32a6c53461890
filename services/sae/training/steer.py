"""Numbers tuned during training: the coefficient that reaches an L0, and a running threshold.

L0 responds to the coefficient late, since the weights must move first. A controller that only adds
up the error would overshoot; this one also responds to the error itself:

    e = log(smoothed L0 / target),  coefficient = base * exp(GAIN * e),  log base grows by RATE * e

With L0 falling as the coefficient grows, in proportion or less, the loop is damped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GAIN = 1.0
RATE = 10.0  # growth of log base over a whole training at an error of 1 (a factor of e in L0)
LARGEST_STEP = 0.05  # of log base in one step
LARGEST_ERROR = 2.0  # of e, in the immediate response of the coefficient
SMOOTHING_STEPS = 10  # of the running mean of L0
FROZEN_SHARE = 0.1  # of the steps, at the end, so that the weights settle for one loss
THRESHOLD_STEPS = 100  # of the running mean of the threshold


@dataclass
class Tuned:
    """The tuned numbers; part of a training's state, so that a resumed run goes on with them."""

    base: float = 0.0  # of the coefficient; 0: not started
    l0: float = 0.0  # smoothed; 0: not started
    threshold: float = 0.0
    batches: int = 0  # that the threshold is a mean of

    def coefficient(self, target: float) -> float:
        """The weight of the penalty for the next step."""
        error = math.log(self.l0 / target) if self.l0 > 0 else 0.0
        return self.base * math.exp(GAIN * min(max(error, -LARGEST_ERROR), LARGEST_ERROR))

    def steer(self, l0: float, target: float, step: int, steps: int) -> None:
        """Take the L0 of a batch into account; `step` counts from 0."""
        if step >= (1 - FROZEN_SHARE) * steps:
            return
        l0 = max(l0, target * 1e-3)  # nothing is active at all: recover as fast as possible
        self.l0 = l0 if self.l0 == 0 else self.l0 + (l0 - self.l0) / SMOOTHING_STEPS
        change = RATE / steps * math.log(self.l0 / target)
        self.base *= math.exp(min(max(change, -LARGEST_STEP), LARGEST_STEP))

    def follow(self, smallest: float) -> None:
        """Let the running threshold follow the smallest active value of a batch."""
        self.batches += 1
        share = max(1 / THRESHOLD_STEPS, 1 / self.batches)
        self.threshold += share * (smallest - self.threshold)
