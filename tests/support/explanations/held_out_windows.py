"""Held-out windows of features that fire at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from services.analyzer.codes.codes import FeatureMajor
from services.analyzer.explanations.held_out import Windows, held_out_windows
from tests.support.planted import firing

CONTEXT, CONTEXTS, WINDOW = 24, 60, 8
SEED = 5


def planted(seed: int, features: int = 12, density: float = 0.05) -> Any:
    return firing(np.random.default_rng(seed), CONTEXT * CONTEXTS, features, density)


def windows_of(codes: FeatureMajor, features: Any = None, **changes: Any) -> Windows:
    wanted = np.arange(codes.width) if features is None else np.array(features)
    settings_ = {"context": CONTEXT, "window": WINDOW, "active": 6, "random": 5, "seed": SEED}
    return held_out_windows(codes, wanted, **(settings_ | changes))
