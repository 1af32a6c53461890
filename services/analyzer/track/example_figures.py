"""The two examples of figures.json: windows of tokens with the activations that figures draw.

M: models, U: universal features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from services.analyzer.codes.codes import FeatureMajor
from services.analyzer.codes.correlate import pair_correlation
from services.analyzer.track.examples import (
    FailingExample,
    UniversalExample,
    context_rows,
    shown_contexts,
)
from shared.arrays import IntArray
from shared.stages.stage import Input

DIGITS = 6  # of numbers in figures.json


def universal_figure(
    example: UniversalExample | None,
    chains_UM: IntArray,
    codes: Sequence[FeatureMajor],
    contexts: Input,
) -> dict[str, Any] | None:
    """universal_example of figures.json, from each model's codes and the first one's contexts."""
    if example is None:
        return None
    features = chains_UM[example.row].tolist()
    firings = [own.of(feature) for own, feature in zip(codes, features, strict=True)]
    correlations = [
        [round(pair_correlation(first, second, codes[0].tokens), DIGITS) for second in firings]
        for first in firings
    ]
    shown = shown_contexts(context_rows(contexts.path, [features[0]]))
    return {
        "label": example.label,
        "reason": example.reason,
        "features": features,
        "correlations": correlations,
        "contexts": [
            {
                "corpus": row["corpus"],
                "tokens": row["tokens"],
                "activations": [
                    _window(own, feature, row) for own, feature in zip(codes, features, strict=True)
                ],
            }
            for row in shown
        ],
    }


def failing_figure(
    example: FailingExample | None, codes: Sequence[FeatureMajor], contexts: Sequence[Input]
) -> dict[str, Any] | None:
    """failing_example of figures.json, from each model's codes and contexts."""
    if example is None:
        return None
    parent, child = example.edge.parent, example.edge.child
    shown = shown_contexts(context_rows(contexts[parent].path, [example.feature]))
    return {
        "parent": parent,
        "child": child,
        "feature": example.feature,
        "closest": example.closest,
        "r": round(example.r, DIGITS),
        "label": example.label,
        "reason": example.reason,
        "contexts": [
            {
                "corpus": row["corpus"],
                "tokens": row["tokens"],
                "parent": _window(codes[parent], example.feature, row),
                "child": _window(codes[child], example.closest, row),
            }
            for row in shown
        ],
    }


def _window(codes: FeatureMajor, feature: int, row: dict[str, Any]) -> list[float]:
    """The feature's activation on each token of a context."""
    positions = row["start"] + np.arange(len(row["tokens"]))
    return [round(float(value), DIGITS) for value in codes.at(feature, positions)]
