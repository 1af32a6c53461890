"""Explanations by rules over tokens: no language model, the same windows, the same scores.

N: chosen features, W: held-out windows, K: tokens of a window.
"""

from __future__ import annotations

import numpy as np

from services.analyzer.explain.rules import find_rules
from services.analyzer.explain.task import NO_RULE, Outcome, Task
from services.analyzer.explanations.held_out import EVERY, Watch
from services.analyzer.explanations.scores import DETECTED


def explain_by_rules(task: Task, watch: Watch) -> Outcome:
    """A rule for each feature, learnt on the even contexts, and what it says of the windows.

    A rule says that a feature fires in a window where the largest level that it predicts there is
    DETECTED or more, and for marked tokens likewise. `watch(done, total)` is called.
    """
    outcome = Outcome.of(task)
    total = len(task.features_N)
    rules = find_rules(
        task.codes,
        task.stream,
        task.texts,
        task.features_N,
        seen=lambda done, of: watch(done * total, 2 * of * total),
    )
    places_WK = task.windows.places()
    for number, rule in enumerate(rules):
        if number % EVERY == 0:
            watch(total + number, 2 * total)
        if rule is None:
            outcome.failure_N[number] = outcome.failure_N[number] or NO_RULE
            continue
        own = task.own(number)
        outcome.explanation_N[number] = rule.text
        outcome.rule_N[number] = rule.to_json()
        outcome.predicted_WK[own] = rule.simulate(task.stream, task.texts, places_WK[own])
        outcome.detection_N[number] = outcome.fuzzing_N[number] = True
    scale_W = np.repeat(task.scale, np.diff(task.bounds_N))
    fires_WK = outcome.predicted_WK >= DETECTED * scale_W[:, None]  # NaN compares as False
    outcome.detected_W[:] = fires_WK.any(axis=1)
    outcome.fuzzed_W[:] = (fires_WK & task.marks.marks_WK).any(axis=1)
    return outcome
