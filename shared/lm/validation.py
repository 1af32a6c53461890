"""Loss and accuracy of a model on the validation splits of several packed corpora.

C: contexts (packed blocks), T: tokens of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.lm.loss import Evaluation, evaluate


def validation_contexts(directory: Path, max_tokens: int | None) -> npt.NDArray[np.integer[Any]]:
    """The validation blocks of a packed corpus, [C, T]: all, or those that fit in `max_tokens`.

    Raises ValueError when that leaves no token to predict.
    """
    contexts_CT: npt.NDArray[np.integer[Any]] = np.load(directory / "validation.npy", mmap_mode="r")
    if max_tokens is not None:
        contexts_CT = contexts_CT[: max_tokens // contexts_CT.shape[1]]
    if len(contexts_CT) == 0 or contexts_CT.shape[1] < 2:
        raise ValueError("its validation split holds no whole block")
    return contexts_CT


def evaluate_corpora(
    model: Any,
    corpora: Sequence[npt.NDArray[np.integer[Any]]],
    on_tokens: Callable[[int], None],
) -> list[Evaluation]:
    """One evaluation per corpus, in order; in float32, since they are numbers of a report.

    `on_tokens` is called with the number of tokens just read; what it raises ends the evaluation.
    """
    evaluations = []
    for contexts_CT in corpora:
        done = 0

        def on_batch(contexts: int, width: int = contexts_CT.shape[1]) -> None:
            nonlocal done
            on_tokens((contexts - done) * width)
            done = contexts

        evaluations.append(evaluate(model, contexts_CT, on_batch=on_batch))
    return evaluations
