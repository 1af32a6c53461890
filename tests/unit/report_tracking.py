"""Inputs of a report that follow features: planted identities, and files as the stages write them.

Every model's dictionary holds numbered concepts in shuffled places; a child keeps some of its
parents' concepts. A feature persists where both models hold its concept, so all counts follow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.report_family import FEATURES, Family

WINDOW = 18
Role = tuple[Path, dict[str, Any]]
CHANCE = {"share": 0.004, "share_any": 0.006}


def _concepts(family: Family, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """For each model the concept of each feature, -1 where it is dead."""
    found: dict[str, np.ndarray] = {}
    fresh = 0
    for name in family.models:
        parents = [parent for parent, child in family.edges() if child == name]
        keep = [found[parent][found[parent] >= 0] for parent in parents]
        kept = np.unique(
            np.concatenate([part[rng.random(len(part)) < 0.55] for part in keep] or [[]])
        )
        kept = np.union1d(kept, np.arange(8))[: FEATURES - 40]  # concepts 0..7 are everywhere
        new = np.arange(fresh, fresh + int(rng.integers(240, 300)) - len(kept)) + 8
        fresh += len(new)
        concepts = np.full(FEATURES, -1)
        places = rng.permutation(FEATURES)[: len(kept) + len(new)]
        concepts[places] = np.concatenate([kept, new])
        found[name] = concepts
    return found


def _side(mine: np.ndarray, other: np.ndarray, missing: str, seed: int) -> pa.Table:
    """One side of a match artifact."""
    rng = np.random.default_rng(seed)
    place = {int(concept): number for number, concept in enumerate(other) if concept >= 0}
    match = np.array([place.get(int(concept), -1) if concept >= 0 else -1 for concept in mine])
    r = np.where(match >= 0, 0.8 + 0.19 * rng.random(len(mine)), 0.7 * rng.random(len(mine)))
    status = np.where(mine < 0, "rare", np.where(match >= 0, "persist", missing))
    return pa.table(
        {
            "feature": pa.array(range(len(mine)), pa.int32()),
            "firings": pa.array(np.where(mine < 0, 0, rng.integers(10, 900, len(mine)))),
            "best": pa.array(np.where(match >= 0, match, rng.integers(0, FEATURES, len(mine)))),
            "best_r": pa.array(r),
            "match": pa.array(match, pa.int32()),
            "match_r": pa.array(np.where(match >= 0, r, np.nan)),
            "status": pa.array(status.tolist()),
        }
    )


def _match(directory: Path, parent: np.ndarray, child: np.ndarray) -> Role:
    directory.mkdir(parents=True)
    pq.write_table(_side(parent, child, "disappear", 3), directory / "parent.parquet")
    pq.write_table(_side(child, parent, "emerge", 3), directory / "child.parquet")
    alive = int((parent >= 0).sum()), int((child >= 0).sum())
    persist = len(np.intersect1d(parent[parent >= 0], child[child >= 0]))
    return directory, {
        "alive_parent": alive[0],
        "alive_child": alive[1],
        "persist": persist,
        "disappear": alive[0] - persist,
        "emerge": alive[1] - persist,
        "persist_any": persist + 7,
        "share": persist / alive[0],
        "share_any": (persist + 7) / alive[0],
        "best_r_parent": best_r(alive[0], persist),
        "best_r_child": best_r(alive[1], persist),
    }


def best_r(alive: int, persist: int) -> dict[str, Any]:
    """A histogram of best r with `persist` features at .8 and above."""
    edges = np.linspace(0, 1, 51).round(6).tolist()
    counts = np.zeros(50, int)
    np.add.at(counts, np.arange(persist) % 10 + 40, 1)
    np.add.at(counts, (np.arange(alive - persist) ** 2) % 29 + 8, 1)
    return {"edges": edges, "counts": counts.tolist()}


def add_tracking(directory: Path, tracking: str, family: Family, inputs: dict[str, Role]) -> None:
    rng = np.random.default_rng(len(tracking))
    concepts = _concepts(family, rng)
    for parent, child in family.edges():
        place = directory / tracking / f"{parent}-{child}"
        role = f"{tracking}/{parent}/{child}"
        inputs[f"match/{role}"] = _match(place, concepts[parent], concepts[child])
        if family.null:
            inputs[f"null/{role}"] = (directory, {**CHANCE, "best_r_parent": best_r(280, 1)})
    for name in family.models:
        if len(family.seeds) > 1:
            share = 0.62 + 0.1 * float(rng.random())
            ceiling = {"share": share, "share_any": share + 0.03}
            ceiling["best_r_parent"] = best_r(280, 190)
            inputs[f"ceiling/{tracking}/{name}"] = (directory, ceiling)
        inputs[f"contexts/{tracking}/{name}"] = _contexts(
            directory / tracking / f"contexts-{name}", concepts[name], family
        )
    inputs[f"track/{tracking}"] = _track(directory / tracking / "track", concepts, family)


def _tokens(family: Family) -> list[str]:
    words = ["local", " x", " =", " 12", "\n", family.token, " add", "(", "a", ",", " b", ")"]
    return [*words, " return", " a", " +", " b", "\n", "end"]


def _contexts(directory: Path, concepts: np.ndarray, family: Family) -> Role:
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
        {"feature": number, "density": 0.01, "mean": 0.4, "max": 3.0, **shares}
        for number in range(FEATURES)
    ]
    pq.write_table(pa.Table.from_pylist(described), directory / "features.parquet")
    return directory, {"labels": ["assignment"]}


def _track(directory: Path, concepts: Mapping[str, np.ndarray], family: Family) -> Role:
    directory.mkdir(parents=True)
    rng = np.random.default_rng(6)
    names = list(family.models)
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
    return directory, {"universal": len(rows), "labels": labels}


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
