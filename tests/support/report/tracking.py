"""Inputs of a report that follow features: planted identities, and files as the stages write them.

Every model's dictionary holds numbered concepts in shuffled places; a child keeps some of its
parents' concepts. A feature persists where both models hold its concept, so all counts follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.lineage.shares import RULES
from tests.support.report.explanations import add_explanations
from tests.support.report.family import FEATURES, Family
from tests.support.report.track import add_contexts, add_track

Role = tuple[Path, dict[str, Any]]
RESAMPLES = 60
FATES = ("persist", "split", "merge", "disappear")  # of a parent's feature
ARRIVALS = ("persist", "split", "merge", "emerge")  # of a child's


def _concepts(family: Family, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """For each model the concept of each feature, -1 where it is dead."""
    found: dict[str, np.ndarray] = {}
    fresh = 0
    for name in family.names():
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


def _status(mine: np.ndarray, match: np.ndarray, missing: str) -> np.ndarray:
    """Every unmatched live feature `missing`, but some of them split or merged."""
    status = np.where(mine < 0, "rare", np.where(match >= 0, "persist", missing))
    unmatched = np.flatnonzero(status == missing)
    status[unmatched[5::20]] = "split"
    status[unmatched[11::40]] = "merge"
    return status


def _side(mine: np.ndarray, other: np.ndarray, missing: str, seed: int) -> pa.Table:
    """One side of a match artifact."""
    rng = np.random.default_rng(seed)
    place = {int(concept): number for number, concept in enumerate(other) if concept >= 0}
    match = np.array([place.get(int(concept), -1) if concept >= 0 else -1 for concept in mine])
    r = np.where(match >= 0, 0.8 + 0.19 * rng.random(len(mine)), 0.7 * rng.random(len(mine)))
    status = _status(mine, match, missing)
    parted = np.isin(status, ("split", "merge"))
    return pa.table(
        {
            "feature": pa.array(range(len(mine)), pa.int32()),
            "firings": pa.array(np.where(mine < 0, 0, rng.integers(10, 900, len(mine)))),
            "best": pa.array(np.where(match >= 0, match, rng.integers(0, FEATURES, len(mine)))),
            "best_r": pa.array(r),
            "mutual": pa.array(match >= 0),
            "match": pa.array(match, pa.int32()),
            "match_r": pa.array(np.where(match >= 0, r, np.nan)),
            "cosine": pa.array(0.9 * r),
            "p": pa.array(np.full(len(mine), 0.001)),
            "q": pa.array(np.full(len(mine), 0.002)),
            "multiple_r": pa.array(np.where(parted, 0.91, np.nan), from_pandas=True),
            "parts": pa.array([[1, 2] if one else [] for one in parted], pa.list_(pa.int32())),
            "status": pa.array(status.tolist()),
        }
    )


def _curve(share: float, chance: float | None) -> list[dict[str, float | None]]:
    """Shares that fall with the threshold and pass through `share` at .8."""
    points = []
    for threshold in np.arange(0.5, 0.96, 0.05).round(6).tolist():
        at = min(1.0, max(0.0, share + 0.9 * (0.8 - threshold) * share))
        low = None if chance is None else chance * 4 ** (10 * (0.8 - threshold) / 3)
        shares = dict(zip(RULES, (at, min(1.0, 1.05 * at), 0.96 * at), strict=True))
        nulls = dict.fromkeys(("null", "null_any", "null_mutual"), low)
        points.append({"threshold": threshold, **shares, **nulls})
    return points


def _resampled(directory: Path, shares: Mapping[str, float], seed: int) -> dict[str, Any]:
    """Writes bootstrap replicates around some shares; returns the intervals of the results."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    drawn = {rule: shares[rule] + 0.01 * rng.standard_normal(RESAMPLES) for rule in RULES}
    np.savez(directory / "bootstrap.npz", **drawn)
    return {
        rule.replace("share", "interval"): np.percentile(drawn[rule], (2.5, 97.5)).tolist()
        for rule in RULES
    }


def _match(directory: Path, parent: np.ndarray, child: np.ndarray, chance: bool) -> Role:
    directory.mkdir(parents=True)
    tables = _side(parent, child, "disappear", 3), _side(child, parent, "emerge", 3)
    pq.write_table(tables[0], directory / "parent.parquet")
    pq.write_table(tables[1], directory / "child.parquet")
    counts = [table["status"].to_pylist() for table in tables]
    alive = int((parent >= 0).sum()), int((child >= 0).sum())
    persist = counts[0].count("persist")
    numbers = {"persist_any": persist + 7, "persist_mutual": persist - 3}
    shares = {"share": persist / alive[0]}
    shares |= {f"share_{rule}": numbers[f"persist_{rule}"] / alive[0] for rule in ("any", "mutual")}
    null = {"share": 0.004, "share_any": 0.006, "share_mutual": 0.003, "shifts": [3000, 6000]}
    best = 0.5 * np.random.default_rng(2).random((2 if chance else 0, alive[0]))
    np.savez(directory / "null.npz", best_r_parent=best)
    return directory, {
        "alive_parent": alive[0],
        "alive_child": alive[1],
        **{fate: counts[0].count(fate) for fate in FATES},
        "emerge": counts[1].count("emerge"),
        "split_child": counts[1].count("split"),
        "merge_child": counts[1].count("merge"),
        **numbers,
        **shares,
        **_resampled(directory, shares, 4),
        "significant": persist + 20 if chance else None,
        "tokens": 20_000,
        "documents": 180,
        "null": null if chance else None,
        "curve": _curve(shares["share"], 0.004 if chance else None),
        "cosine": {"mean": 0.93, "mutual": 0.9 * shares["share"]},
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


def _control(directory: Path, share: float, seed: int) -> Role:
    """A match stage of which only shares matter."""
    shares = dict(zip(RULES, (share, share + 0.03, share - 0.02), strict=True))
    found = {**shares, **_resampled(directory, shares, seed), "curve": _curve(share, None)}
    return directory, {**found, "best_r_parent": best_r(280, int(280 * share))}


def add_tracking(directory: Path, tracking: str, family: Family, inputs: dict[str, Role]) -> None:
    """The roles of one tracking."""
    rng = np.random.default_rng(len(tracking))
    concepts = _concepts(family, rng)
    place = directory / tracking
    for parent, child in (*family.edges(), *family.pairs()):
        kind = "match" if (parent, child) in family.edges() else "ancestor"
        pair = concepts[parent], concepts[child]
        role = f"{tracking}/{parent}/{child}"
        inputs[f"{kind}/{role}"] = _match(place / f"{parent}-{child}", *pair, family.null)
        if kind == "ancestor":
            continue
        share = inputs[f"match/{role}"][1]["share"]
        if len(family.seeds) > 1:
            crossed = _control(place / f"crossed-{parent}-{child}", 0.9 * share, 5)
            inputs[f"crossed/{role}"] = crossed
        scaling = {"disappear": 90, "false_disappear": 11, "emerge": 80, "false_emerge": 7}
        inputs[f"scaling/{role}"] = (directory, {**scaling, "same_basis": True})
    for name in family.names():
        ceiling = 0.62 + 0.1 * float(rng.random())
        if family.init == "parent":
            inputs[f"warm/{tracking}/{name}"] = _control(place / f"warm-{name}", ceiling + 0.2, 6)
            unrelated = _control(place / f"unrelated-{name}", 0.12, 7)
            inputs[f"unrelated/{tracking}/{name}"] = unrelated
        elif len(family.seeds) > 1:
            inputs[f"ceiling/{tracking}/{name}"] = _control(place / f"two-{name}", ceiling, 6)
        inputs[f"contexts/{tracking}/{name}"] = add_contexts(
            place / f"contexts-{name}", concepts[name], family
        )
    inputs[f"track/{tracking}"] = add_track(place / "track", concepts, family)
    add_explanations(place, tracking, family, concepts, inputs)
