"""Explanations by rules over tokens: no language model, the same windows, the same scores.

N: chosen features, W: held-out windows, K: tokens of a window.
"""

from __future__ import annotations

import numpy as np

from services.analyzer.explain.outcome import NO_RULE, Outcome
from services.analyzer.explain.progress import watch_part
from services.analyzer.explain.rules import find_rules
from services.analyzer.explain.task import Task
from services.analyzer.explanations.held_out import EVERY
from shared.stages.explain import ExplainParameters
from shared.stages.stage import Stage

DETECTED = 0.5  # level from which a simulation says that the feature fires: it rounds to 1


def explain(stage: Stage, task: Task, parameters: ExplainParameters) -> Outcome:  # noqa: ARG001
    """A rule for each feature, learnt on the even contexts, and what it says of the windows.

    Asked whether a feature fires on certain tokens of a window, a rule says yes where the largest
    level that it predicts on them is DETECTED or more. Raises Leave when the stage is asked to.
    """
    outcome = Outcome.of(task)
    total = len(task.features_N)
    watch = watch_part(stage, 0.1, 0.9)
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
    _answer(task, outcome)
    return outcome


def _answer(task: Task, outcome: Outcome) -> None:
    """The verdicts of all rules on all windows."""
    has_rule_N = np.array([rule is not None for rule in outcome.rule_N], bool)
    scale_W = np.repeat(task.scale, np.diff(task.bounds_N))
    fires_WK = outcome.predicted_WK >= DETECTED * scale_W[:, None]  # NaN compares as False
    for verdicts in outcome.verdicts.values():
        verdicts.given_N[:] = has_rule_N
        verdicts.yes_W[:] = (fires_WK & verdicts.quiz.shown_WK).any(axis=1)
