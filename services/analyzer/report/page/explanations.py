"""Which explanations the page shows: a few of each status, methods beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.analyzer.report.inputs.explanations import METHODS, spread

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
    return float("nan") if last["score"] is None else float(last["score"])
