"""What explain stages leave for a report, with the files and results that their parameters tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.lineage.explanations.feature_status import FEATURE_STATUSES
from shared.lineage.explanations.scores import COLUMNS, MAIN, OTHERS
from tests.support.report.family import FEATURES, HOSTILE, Family

Role = tuple[Path, dict[str, Any]]
EXPLANATIONS = pa.schema(
    [
        ("feature", pa.int32()),
        ("status", pa.string()),
        ("density", pa.float64()),
        ("explanation", pa.string()),
        *((column, pa.float64()) for column in COLUMNS),
        ("failure", pa.string()),
        ("rule", pa.string()),
    ]
)
CROSS = pa.schema(
    [
        ("feature", pa.int32()),
        ("status", pa.string()),
        ("partner", pa.int32()),
        ("partner_r", pa.float64()),
        ("score", pa.float64()),
        ("cross", pa.float64()),
    ]
)
# Of a language model that was told what to say: markup, control characters, writing turned round.
HOSTILE_WORDS = (HOSTILE, "\x00\x07\x1b[31m" * 40, "safe \u202egnihton\u202c", "=1+1", "x" * 5000)


def add_explanations(
    directory: Path,
    tracking: str,
    family: Family,
    concepts: dict[str, np.ndarray],
    inputs: dict[str, Role],
) -> None:
    """Explanations of every model, and how they fare along every edge."""
    for method in family.explain:
        for number, name in enumerate(family.names()):
            live = np.flatnonzero(concepts[name] >= 0)
            chosen = live if method == "rule" else live[:: max(1, len(live) // 40)]
            place = directory / f"explain-{method}-{name}"
            inputs[f"explain/{tracking}/{method}/{name}"] = _explain(place, chosen, method, number)
        for parent, child in family.edges():
            place = directory / f"explained-{method}-{parent}-{child}"
            role = f"explained_edge/{tracking}/{method}/{parent}/{child}"
            live = np.flatnonzero(concepts[parent] >= 0)
            inputs[role] = _edge(place, live[:60], np.isin(concepts[parent], concepts[child]))


def _explain(directory: Path, features: np.ndarray, method: str, seed: int) -> Role:
    directory.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for place, feature in enumerate(features.tolist()):
        failed = place % 11 == 10
        words = f"the token ` word{feature}` at the start of a line"
        if method == "language_model" and place < len(HOSTILE_WORDS):
            words = HOSTILE_WORDS[place]
        rows.append(
            {
                "feature": feature,
                "status": "universal" if feature < 8 else FEATURE_STATUSES[1 + place % 3],
                "density": 0.01 * float(rng.random()),
                "explanation": None if failed else words,
                MAIN.column: None if failed or place % 13 == 12 else float(rng.uniform(-0.1, 1)),
                **{
                    one.column: None if failed else 0.5 + 0.5 * float(rng.random())
                    for one in OTHERS
                },
                "failure": "no number in the answer <b>" if failed else None,
                "rule": "{}" if method == "rule" else None,
            }
        )
    pq.write_table(pa.Table.from_pylist(rows, EXPLANATIONS), directory / "explanations.parquet")
    return directory, {"method": method, **_results(rows, method)}


def _results(rows: list[dict[str, Any]], method: str) -> dict[str, Any]:
    failed = sum(row["failure"] is not None for row in rows)
    asked = method == "language_model"
    statuses = {}
    for status in FEATURE_STATUSES:
        mine = [row for row in rows if row["status"] == status]
        known = [row["score"] for row in mine if row["score"] is not None]
        if mine:
            mean = float(np.mean(known)) if known else None
            interval = None if mean is None else [mean - 0.05, mean + 0.05]
            explained = sum(row["explanation"] is not None for row in mine)
            found = {"features": len(mine), "explained": explained, "score": mean}
            statuses[status] = {**found, "interval": interval}
    means = {
        name: float(np.mean([row[name] for row in rows if row[name] is not None]))
        for name in COLUMNS
    }
    return {
        "features": len(rows),
        "explained": len(rows) - failed,
        "failed": failed,
        "statuses": statuses,
        **means,
        "interval": [means["score"] - 0.02, means["score"] + 0.02],
        "label": "small <i>model</i>" if asked else None,
        "requests": 812 if asked else 0,
        "tokens": 734_112 if asked else 0,
        "covered": 0.75 if asked else 1.0,
        "failures": {"no number in the answer <b>": failed} if failed else {},
    }


def _edge(directory: Path, features: np.ndarray, shared: np.ndarray) -> Role:
    directory.mkdir(parents=True)
    rng = np.random.default_rng(len(features))
    rows = [
        {
            "feature": feature,
            "status": "persist" if shared[feature] else "disappear",
            "partner": int(rng.integers(FEATURES)),
            "partner_r": 0.9 if shared[feature] else 0.5,
            "score": float(rng.uniform(0.3, 0.9)),
            "cross": float(rng.uniform(0.2, 0.8)) * (1.0 if shared[feature] else 0.3),
        }
        for feature in features.tolist()
    ]
    pq.write_table(pa.Table.from_pylist(rows, CROSS), directory / "cross.parquet")
    results: dict[str, Any] = {"method": "rule"}
    for side in ("persist", "disappear"):
        mine = [row for row in rows if row["status"] == side]
        if not mine:
            results[side] = None
            continue
        score, cross = (float(np.mean([row[name] for row in mine])) for name in ("score", "cross"))
        results[side] = {
            "features": len(mine),
            "score": score,
            "cross": cross,
            "interval": [cross - 0.03, cross + 0.03],
            "difference": score - cross,
            "difference_interval": [score - cross - 0.04, score - cross + 0.04],
        }
    return directory, results
