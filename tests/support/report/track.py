"""What contexts and track leave for a report: contexts, effects on tokens, chains, examples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.report.family import FEATURES, Family

WINDOW = 18
Role = tuple[Path, dict[str, Any]]


def _tokens(family: Family) -> list[str]:
    words = ["local", " x", " =", " 12", "\n", family.token, " add", "(", "a", ",", " b", ")"]
    return [*words, " return", " a", " +", " b", "\n", "end"]


def add_contexts(directory: Path, concepts: np.ndarray, family: Family) -> Role:
    """What a contexts stage leaves of one model."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng(5)
    rows = []
    for feature in np.flatnonzero(concepts >= 0).tolist():
        for kind, rank in (("top", 0), ("top", 1), ("sample", 0)):
            values = np.where(rng.random(WINDOW) < 0.2, 3 * rng.random(WINDOW), 0.0)
            rows.append(
                {
                    "feature": feature,
                    "kind": kind,
                    "rank": rank,
                    "corpus": rank % len(family.corpora),
                    "position": 100 * rank,
                    "start": 100 * rank - 5,
                    "tokens": _tokens(family),
                    "activations": values.tolist(),
                }
            )
    pq.write_table(pa.Table.from_pylist(rows), directory / "contexts.parquet")
    shares = {f"corpus_{number}": 0.25 for number in range(len(family.corpora))}
    described = [
        {
            "feature": number,
            "density": 0.01,
            "mean": 0.4,
            "max": 3.0,
            **shares,
            "positions": [0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05],
            "histogram": [50, 30, 20, 10, 5, 4, 3, 2, 1, 1],
        }
        for number in range(FEATURES)
    ]
    effects = [
        {"feature": number, "kind": kind, "rank": rank, "token": token, "id": 9, "effect": effect}
        for number in range(FEATURES)
        for kind, sign in (("raised", 1.0), ("lowered", -1.0))
        for rank, token in enumerate((" =", "(", family.token, " local", "\n", "end"))
        for effect in [sign * (2.0 - 0.3 * rank)]
    ]
    pq.write_table(pa.Table.from_pylist(effects), directory / "logits.parquet")
    pq.write_table(pa.Table.from_pylist(described), directory / "features.parquet")
    return directory, {"labels": ["assignment"]}


def add_track(directory: Path, concepts: Mapping[str, np.ndarray], family: Family) -> Role:
    """What a track stage leaves."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng(6)
    names = family.names()
    rows = []
    for concept in range(8) if family.universal else ():
        row: dict[str, Any] = {}
        for number, name in enumerate(names):
            row[f"feature_{number}"] = int(np.flatnonzero(concepts[name] == concept)[0])
            row[f"r_{number}"] = 1.0 if number == 0 else 0.8 + 0.2 * float(rng.random())
        rows.append({**row, "weakest_r": 0.8 + 0.1 * float(rng.random())})
    fields = [(f"feature_{n}", pa.int32()) for n in range(len(names))]
    fields += [(f"r_{n}", pa.float64()) for n in range(len(names))]
    schema = pa.schema([*fields, ("weakest_r", pa.float64())])
    pq.write_table(pa.Table.from_pylist(rows, schema), directory / "universal.parquet")
    labels = _labels(concepts, names)
    figures = {
        "universal_example": _universal_example(rows, names, family) if rows else None,
        "failing_example": _failing_example(family) if family.failing and len(names) > 1 else None,
        "labels": labels,
    }
    (directory / "figures.json").write_text(json.dumps(figures))
    fates = [
        {"model": number, "feature": feature, "fate": ["universal"] if concept < 8 else ["new"]}
        for number, name in enumerate(names)
        for feature, concept in enumerate(concepts[name].tolist())
        if concept >= 0
    ]
    pq.write_table(pa.Table.from_pylist(fates), directory / "chains.parquet")
    return directory, {"universal": len(rows), "labels": labels, **_chains(concepts, family)}


def _chains(concepts: Mapping[str, np.ndarray], family: Family) -> dict[str, Any]:
    """Merges, ancestors and checkpoints, counted from the planted concepts."""
    names = family.names()
    live = {name: {int(one) for one in values if one >= 0} for name, values in concepts.items()}
    parents = {name: [p for p, child in family.edges() if child == name] for name in names}
    merges = []
    for name in names:
        if len(parents[name]) == 2:
            first, second = (live[name] & live[parent] for parent in parents[name])
            row = {
                "child": names.index(name),
                "alive": len(live[name]),
                "both": len(first & second),
            }
            row["parents"] = [names.index(parent) for parent in parents[name]]
            row["only"] = [len(first - second), len(second - first)]
            merges.append({**row, "new": len(live[name] - first - second)})
    regained = []
    for ancestor, model in family.pairs():
        direct = len(live[ancestor] & live[model])
        row = {"ancestor": names.index(ancestor), "descendant": names.index(model)}
        row |= {"persist_direct": direct, "persist_path": direct - 4, "regained": 4}
        regained.append({**row, "lost": len(live[ancestor]) - direct})
    along = []
    reached: dict[str, set[int]] = {}
    for name in names:
        before = [reached[parent] for parent in parents[name]]
        reached[name] = live[name] & set.union(*before) if before else live[name]
        known = set().union(*(live[parent] for parent in parents[name]))
        row = {"model": names.index(name), "alive": len(live[name])}
        new = len(live[name] - known) if parents[name] else 0
        along.append({**row, "new": new, "from_first": len(reached[name])})
    return {"merges": merges, "regained": regained, "along": along}


def _labels(concepts: Mapping[str, np.ndarray], names: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "label": label,
            "model": number,
            "feature": int(np.flatnonzero(concepts[name] == concept)[0]),
            "precision": 0.95 - 0.2 * concept,
            "recall": 0.9 - 0.2 * concept,
            "f1": 0.92 - 0.2 * concept,
            "persists_in": list(range(number + 1, len(names))),
        }
        for concept, label in enumerate(("assignment", "try-except"))
        for number, name in enumerate(names)
    ]


def _strip(family: Family, seed: int, at: Sequence[int]) -> list[float]:
    rng = np.random.default_rng(seed)
    values = np.zeros(len(_tokens(family)))
    values[list(at)] = 2 + 2 * rng.random(len(at))
    return values.tolist()


def _universal_example(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], family: Family
) -> dict[str, Any]:
    size = len(names)
    rng = np.random.default_rng(8)
    r = 0.82 + 0.15 * rng.random((size, size))
    correlations = np.where(np.eye(size) > 0, 1.0, (r + r.T) / 2).tolist()
    return {
        "label": "assignment",
        "reason": "of all universal features it tells assignment best in the first model",
        "features": [rows[0][f"feature_{number}"] for number in range(size)],
        "correlations": correlations,
        "contexts": [
            {
                "corpus": number % len(family.corpora),
                "tokens": _tokens(family),
                "activations": [_strip(family, 9 + place, (2, 7)) for place in range(size)],
            }
            for number in range(3)
        ],
    }


def _failing_example(family: Family) -> dict[str, Any]:
    return {
        "parent": 0,
        "child": 1,
        "feature": 17,
        "closest": 203,
        "r": 0.4417,
        "label": "try-except",
        "reason": "it tells try-except in the parent",
        "contexts": [
            {
                "corpus": 0,
                "tokens": _tokens(family),
                "parent": _strip(family, 20 + number, (5, 12)),
                "child": _strip(family, 30 + number, (5, 8, 9)),
            }
            for number in range(3)
        ],
    }
