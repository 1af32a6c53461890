"""Which explanations the page shows: a few of each status, methods beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.analyzer.report.inputs.explanations import spread
from shared.lineage.explanations.feature_status import FEATURE_STATUSES
from shared.lineage.explanations.methods import METHODS
from shared.lineage.explanations.scores import MAIN, OTHERS, Score

ROWS = 6  # of each status and model; the tables have all

Values = dict[str, Any]


def explained_rows(results: Mapping[str, Any]) -> dict[str, dict[str, list[Values]]]:
    """By tracking and model: {feature, status, density, by: {method: row}}, ascending by feature.

    Of each status ROWS features are taken at even ranks of their score, so the best and the worst
    are among them; the score is the language model's where there is one.
    """
    found: dict[str, dict[str, list[Values]]] = {}
    for model, rows in results["explanations"].items():
        for tracking in dict.fromkeys(row["tracking"] for row in rows):
            mine = [row for row in rows if row["tracking"] == tracking]
            found.setdefault(tracking, {})[model] = _chosen(_by_feature(mine))
    return found


def _by_feature(rows: Sequence[Mapping[str, Any]]) -> list[Values]:
    features: dict[int, Values] = {}
    for row in rows:
        place = {name: row[name] for name in ("feature", "status", "density")}
        features.setdefault(row["feature"], {**place, "by": {}})["by"][row["method"]] = row
    return [features[feature] for feature in sorted(features)]


def _chosen(features: Sequence[Values]) -> list[Values]:
    scores_F = np.array([_score(one) for one in features], np.float64)
    statuses = [one["status"] for one in features]
    return [features[place] for place in spread(statuses, scores_F, ROWS)]


def _score(feature: Values) -> float:
    last = [feature["by"][method] for method in METHODS if method in feature["by"]][-1]
    return float("nan") if last[MAIN.column] is None else float(last[MAIN.column])


def declared() -> Values:
    """The declared methods, scores and statuses, under the names that the template uses."""
    return {
        "methods": METHODS,
        "other_scores": OTHERS,
        "measures": measures(OTHERS),
        "feature_statuses": FEATURE_STATUSES,
    }


def measures(scores: Sequence[Score]) -> str:
    """What scores are measured in and what they ask, a sentence for each unit.

    As "Detection and fuzzing are balanced accuracies (0.5 is guessing): which windows hold the
    feature, and whether the marked tokens are its own."
    """
    groups: dict[tuple[str, float], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.units, score.chance), []).append(score)
    return " ".join(map(_measured, groups.values()))


def _measured(alike: Sequence[Score]) -> str:
    first, names = alike[0], " and ".join(score.name for score in alike)
    what = f"are {first.units}" if len(alike) > 1 else f"is {first.unit}"
    questions = ", and ".join(score.question for score in alike)
    return f"{names.capitalize()} {what} ({first.chance:g} is guessing): {questions}."
