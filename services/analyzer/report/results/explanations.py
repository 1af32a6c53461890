"""What results.json says about explanations: of which features, how good, and whether they last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from services.analyzer.explanations.scores import interval_of
from services.analyzer.report.inputs.explanations import METHODS, STATUSES, Explained
from services.analyzer.report.inputs.inputs import ReportInputs
from shared.lineage.roles import Role

Values = dict[str, Any]
BINS = 40  # of the score, over [-1, 1]
SPENT = ("features", "explained", "failed", "covered", "requests", "tokens")
MEANS = ("score", "interval", "detection", "fuzzing")
SIDE = ("features", "score", "cross", "interval", "difference", "difference_interval")


def explanations(inputs: ReportInputs) -> dict[str, list[Values]]:
    """By model the listed explanations: all of a language model, and some of each status by rules.

    Which of the rules' are listed is said in `read_explained`; explanations.csv has every one.
    """
    found: dict[str, list[Values]] = {}
    for one in inputs.explained:
        place = {"tracking": one.tracking, "method": one.method}
        rows = [{**place, **row} for row in one.rows]
        found.setdefault(one.model, []).extend(rows)
    return {
        model: sorted(
            rows, key=lambda row: (row["tracking"], row["feature"], _place(row["method"]))
        )
        for model, rows in found.items()
    }


def _place(method: str) -> int:
    return METHODS.index(method)


def explanation_scores(inputs: ReportInputs) -> list[Values]:
    """How good the explanations of each model and method are, over all features that have one.

    `histogram` counts the scores of all explained features in BINS bins over [-1, 1], `quartiles`
    are the scores below which a quarter, a half and three quarters of them lie. `beside_rules`
    compares a language model with the rules on the features that both have a score for: features,
    rule and language_model (means), difference (language model - rule) and its interval of 95 %.
    """
    rules = {(one.tracking, one.model): one for one in inputs.explained if one.method == "rule"}
    seed = int(inputs.spec.get("seed", 0))
    found = []
    for one in inputs.explained:
        other = rules.get((one.tracking, one.model)) if one.method != "rule" else None
        found.append({**_scores(one), "beside_rules": _beside(one, other, seed)})
    return found


def _beside(one: Explained, rules: Explained | None, seed: int) -> Values | None:
    """Scores on the same features; None where there are none."""
    known = {row["feature"]: row["score"] for row in (rules.rows if rules else ())}
    pairs = [
        (row["score"], known[row["feature"]])
        for row in one.rows
        if row["score"] is not None and known.get(row["feature"]) is not None
    ]
    if not pairs:
        return None
    own_F, rule_F = np.array(pairs, np.float64).T
    return {
        "features": len(pairs),
        "rule": float(rule_F.mean()),
        "language_model": float(own_F.mean()),
        "difference": float((own_F - rule_F).mean()),
        "interval": interval_of(own_F - rule_F, seed),
    }


def _scores(one: Explained) -> Values:
    known = one.scores_F[np.isfinite(one.scores_F)]
    counts, edges = np.histogram(known, bins=BINS, range=(-1.0, 1.0))
    statuses = one.results.get("statuses") or {}
    return {
        "tracking": one.tracking,
        "model": one.model,
        "method": one.method,
        "label": one.results.get("label"),
        **{name: one.results.get(name) for name in (*SPENT, *MEANS)},
        "scored": len(known),
        "statuses": {name: statuses[name] for name in STATUSES if name in statuses},
        "failures": dict(sorted((one.results.get("failures") or {}).items())),
        "histogram": {"edges": edges.round(6).tolist(), "counts": counts.tolist()},
        "quartiles": np.quantile(known, (0.25, 0.5, 0.75)).tolist() if len(known) else None,
        "listed": len(one.rows),
    }


def explained_edges(inputs: ReportInputs) -> list[Values]:
    """Per edge and method: do the parent's explanations predict the child's features?

    `persist` is about the matches of features that persist, `disappear` about the closest feature
    of those without a match. `reading` compares what is lost (score - cross) on both, so that it
    does not matter whose features are easier to explain: "apart" (less is lost on matches),
    "reversed", or "open" (the intervals overlap); null where one of the two is missing.
    """
    found = []
    for tracking in inputs.trackings:
        for parent, child in inputs.parameters.edges:
            for method in METHODS:
                results = inputs.results(Role.explained_edge(tracking, method, parent, child))
                if not results:
                    continue
                place = {"tracking": tracking, "parent": parent, "child": child, "method": method}
                sides = {side: _side(results.get(side)) for side in ("persist", "disappear")}
                found.append({**place, **sides, "reading": _reading(sides)})
    return found


def _side(values: Mapping[str, Any] | None) -> Values | None:
    return None if not values else {name: values.get(name) for name in SIDE}


def _reading(sides: Mapping[str, Values | None]) -> str | None:
    lost: Sequence[Any] = [side and side["difference_interval"] for side in sides.values()]
    if not all(lost):
        return None
    (low, high), (low_other, high_other) = lost
    if high < low_other:
        return "apart"
    return "reversed" if low > high_other else "open"
