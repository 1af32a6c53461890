"""What results.json says about explanations: of which features, how good, and whether they last."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.analyzer.report.inputs.explanations import Explained
from services.analyzer.report.inputs.inputs import ReportInputs
from shared.lineage.explanations.explained_edge import reading, sides
from shared.lineage.explanations.feature_status import FEATURE_STATUSES
from shared.lineage.explanations.means import interval_of
from shared.lineage.explanations.methods import BASELINE, METHODS
from shared.lineage.explanations.scores import MAIN, MEANS
from shared.lineage.roles import Role

Values = dict[str, Any]
BINS = 40  # of the main score, over all values that it can have
SPENT = ("features", "explained", "failed", "covered", "requests", "tokens")


def explanations(inputs: ReportInputs) -> dict[str, list[Values]]:
    """By model the listed explanations: all of a language model, and some of each status by rules.

    Which of the rules' are listed is said in `read_explained`; explanations.csv has every one.
    """
    found: dict[str, list[Values]] = {}
    for one in inputs.explained:
        place = {"tracking": one.tracking, "method": one.method}
        rows = [{**place, **row} for row in one.rows]
        found.setdefault(one.model, []).extend(rows)
    order = list(METHODS)

    def place_of(row: Values) -> tuple[str, int, int]:
        return row["tracking"], row["feature"], order.index(row["method"])

    return {model: sorted(rows, key=place_of) for model, rows in found.items()}


def explanation_scores(inputs: ReportInputs) -> list[Values]:
    """How good the explanations of each model and method are, over all features that have one.

    `histogram` counts the main scores of all explained features in BINS bins, `quartiles` are those
    below which a quarter, a half and three quarters of them lie. `beside_rules` compares a language
    model with the rules on the features that both have a score for: features, rule and
    language_model (means), difference (language model - rule) and its interval of 95 %.
    """
    rules = {
        (one.tracking, one.model): one for one in inputs.explained if one.method == BASELINE.name
    }
    seed = int(inputs.spec.get("seed", 0))
    found = []
    for one in inputs.explained:
        other = rules.get((one.tracking, one.model)) if one.method != BASELINE.name else None
        found.append({**_scores(one), "beside_rules": _beside(one, other, seed)})
    return found


def _beside(one: Explained, rules: Explained | None, seed: int) -> Values | None:
    """Scores on the same features; None where there are none."""
    known = {row["feature"]: row[MAIN.column] for row in (rules.rows if rules else ())}
    pairs = [
        (row[MAIN.column], known[row["feature"]])
        for row in one.rows
        if row[MAIN.column] is not None and known.get(row["feature"]) is not None
    ]
    if not pairs:
        return None
    own_F, rule_F = np.array(pairs, np.float64).T
    return {
        "features": len(pairs),
        BASELINE.name: float(rule_F.mean()),
        one.method: float(own_F.mean()),
        "difference": float((own_F - rule_F).mean()),
        "interval": interval_of(own_F - rule_F, seed),
    }


def _scores(one: Explained) -> Values:
    known = one.scores_F[np.isfinite(one.scores_F)]
    counts, edges = np.histogram(known, bins=BINS, range=(MAIN.lowest, MAIN.highest))
    statuses = one.results.get("statuses") or {}
    return {
        "tracking": one.tracking,
        "model": one.model,
        "method": one.method,
        "label": one.results.get("label"),
        **{name: one.results.get(name) for name in (*SPENT, *MEANS)},
        "scored": len(known),
        "statuses": {name: statuses[name] for name in FEATURE_STATUSES if name in statuses},
        "failures": dict(sorted((one.results.get("failures") or {}).items())),
        "histogram": {"edges": edges.round(6).tolist(), "counts": counts.tolist()},
        "quartiles": np.quantile(known, (0.25, 0.5, 0.75)).tolist() if len(known) else None,
        "listed": len(one.rows),
    }


def explained_edges(inputs: ReportInputs) -> list[Values]:
    """Per edge and method: do the parent's explanations predict the child's features?

    `persist` is about the matches of features that persist, `disappear` about the closest feature
    of those without a match. `reading` says on which of the two less is lost (see `reading`).
    """
    found = []
    for tracking in inputs.trackings:
        for parent, child in inputs.parameters.edges:
            for method in METHODS:
                results = inputs.results(Role.explained_edge(tracking, method, parent, child))
                if not results:
                    continue
                place = {"tracking": tracking, "parent": parent, "child": child, "method": method}
                both = sides(results)
                found.append({**place, **both, "reading": reading(both)})
    return found
