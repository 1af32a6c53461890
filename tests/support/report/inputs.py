"""Makes plausible inputs of a report for a family of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.support.report.family import ALONE, EVERYTHING, FEATURES, HOSTILE, PAPER, TEN, Family
from tests.support.report.tracking import Role, add_tracking

__all__ = [
    "ALONE",
    "EVERYTHING",
    "HOSTILE",
    "PAPER",
    "TEN",
    "Family",
    "Role",
    "build",
    "sweep_points",
]


def build(directory: Path, family: Family | None = None) -> tuple[dict[str, Any], dict[str, Role]]:
    """Parameters and inputs of a report stage, with files below `directory`."""
    family = family or Family()
    inputs: dict[str, Role] = {}
    for name in family.corpora:
        sizes = {"train": {"documents": 900, "bytes": 10**6}, "labels": {"assignment": 50}}
        inputs[f"corpus/{name}"] = (directory, sizes)
        inputs[f"tokens/{name}"] = (directory, {"train_tokens": 250_000, "validation_tokens": 9000})
    _models(directory, family, inputs)
    if family.dictionaries:
        _dictionaries(directory, family, inputs)
    if family.sweep:
        inputs["sweep/stories-to-lua"] = (directory, {"points": sweep_points(11)})
    for tracking in family.trackings:
        add_tracking(directory, tracking, family, inputs)
    if family.stability:
        _stability(directory, family, inputs)
    if family.crosscoder:
        _crosscoders(directory, family, inputs)
    parameters = {
        "spec": family.spec(),
        "models": {tracking: family.names() for tracking in family.trackings},
        "edges": family.edges(),
        "corpora": list(family.corpora),
        "cells": {"grid": family.cells()} if family.stability else {},
    }
    return parameters, inputs


def sweep_points(steps: int) -> list[dict[str, Any]]:
    """Accuracy and loss on stories and Lua, monotone, crossing once."""
    points = []
    for t in np.linspace(0, 1, steps).tolist():
        stories, lua = 0.52 - 0.27 * t**1.3, 0.18 + 0.31 * t**1.1
        losses = (2.04 + 2.2 * t**1.6, 2.45 + 3.4 * (1 - t) ** 1.8)
        points.append(
            {
                "t": t,
                "corpora": [
                    {"loss": loss, "accuracy": accuracy}
                    for loss, accuracy in zip(losses, (stories, lua), strict=True)
                ],
            }
        )
    return points


def _evaluation(family: Family, name: str, rng: np.random.Generator) -> dict[str, Any]:
    own = {"base": (0,), "lua": (1,), "stories": (2,)}.get(name, (1, 2))
    values = []
    for place in range(len(family.corpora)):
        loss = 2.5 + 1.7 * (place not in own) + 0.2 * float(rng.random())
        values.append({"loss": loss, "accuracy": 0.75 - loss / 9, "tokens": 9000})
    return {"corpora": values}


def _models(directory: Path, family: Family, inputs: dict[str, Role]) -> None:
    rng = np.random.default_rng(1)
    for name in family.names():
        model = family.models.get(name.partition("@")[0], {})
        results: dict[str, Any] = {"parameters": 35_131_904}
        if "@" in name:
            results["steps"] = int(name.partition("@")[2])
        elif "merge" not in model:
            results |= {"steps": 900, "tokens": 3_686_400}
        inputs[f"model/{name}"] = (directory, results)
        inputs[f"evaluate/{name}"] = (directory, _evaluation(family, name, rng))
        if "pretrain" in model and "@" not in name:
            untrained = [{"loss": 8.32, "accuracy": 0.0004, "tokens": 9000} for _ in family.corpora]
            inputs[f"untrained/{name}"] = (directory, {"corpora": untrained})


def _dictionaries(directory: Path, family: Family, inputs: dict[str, Role]) -> None:
    rng = np.random.default_rng(2)
    edges = np.linspace(-5, 0, 26).tolist()
    middle = (np.array(edges[1:]) + np.array(edges[:-1])) / 2
    for name in family.names():
        for replicate in range(len(family.seeds)):
            counts = 60 * np.exp(-((middle + 2.1 + 0.2 * rng.random()) ** 2) / 0.6)
            made = {"features": FEATURES, "width": 512, "vectors": 10**6}
            quality = {
                "l0": 12 + 4 * float(rng.random()),
                "explained_variance": 0.6 + 0.2 * float(rng.random()),
                "loss_recovered": 0.9 + 0.05 * float(rng.random()),
                "loss_recovered_mean": 0.85 + 0.05 * float(rng.random()),
                "loss": 3.1,
                "loss_reconstructed": 3.3,
                "loss_zero": 5.1,
                "loss_mean": 4.4,
                "dead_share": 0.05 * float(rng.random()),
                "tokens": 50_000,
                "features": FEATURES,
                "density_histogram": {"edges": edges, "counts": counts.astype(int).tolist()},
            }
            inputs[f"dictionary/mlp/{name}/{replicate}"] = (directory, made)
            inputs[f"quality/mlp/{name}/{replicate}"] = (directory, quality)


def _stability(directory: Path, family: Family, inputs: dict[str, Role]) -> None:
    """Large and loose dictionaries share little, sparse and small ones die."""
    for number, cell in enumerate(family.cells()):
        size, k = cell["features"], cell["k"]
        ceiling = 0.75 - 0.09 * np.log2(size / 512) - 0.008 * k
        for replicate in range(2):
            quality = {
                "l0": k * 0.98 + 0.1 * replicate,
                "explained_variance": 0.38 + 0.1 * np.log2(k / 4) + 0.03 * np.log2(size / 512),
                "loss_recovered": 0.9,
                "dead_share": 0.3 if (size, k) == (2048, 8) else 0.02 + 0.01 * replicate,
            }
            inputs[f"stability/grid/{number}/quality/{replicate}"] = (directory, quality)
        shares = {"share": ceiling, "share_any": ceiling + 0.02, "share_mutual": ceiling - 0.01}
        shares |= {"interval": [ceiling - 0.02, ceiling + 0.02], "alive_parent": int(0.9 * size)}
        inputs[f"stability/grid/{number}/ceiling"] = (directory, shares)


def _crosscoders(directory: Path, family: Family, inputs: dict[str, Role]) -> None:
    """Most features shared, some of one model alone, some only so by their norms."""
    edges = np.linspace(0, 1, 21).round(6).tolist()
    counts = [60, 12, 4, 2, 2, 3, 9, 24, 70, 130, 120, 66, 20, 8, 3, 2, 3, 5, 11, 46]
    kinds = {"shared": 452, "parent": 60, "child": 46, "false_parent": 16, "false_child": 26}
    for parent, child in family.edges():
        results = {
            "features": 640,
            "width": 512,
            "l0": 31.4,
            "explained_variance_parent": 0.78,
            "explained_variance_child": 0.76,
            "dead_share": 40 / 640,
            "kinds": {**kinds, "dead": 40},
            "relative_norm": {"edges": edges, "counts": counts},
            "vectors": 10**6,
            "tokens": 10**6,
        }
        inputs[f"crosscoder/both/{parent}/{child}"] = (directory, results)
