"""Features that fire on planted sets of tokens, as a language model is shown them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.analyzer.explain.language_model import Examples, HeldOutWindows

WORDS = ["\n", " cat", " dog", " sat", " on", " mat", " the", ":", ' "', " 7", " red", " ate"]


def planted(
    features: int, windows: int = 4, tokens: int = 8, examples: int = 4, seed: int = 0
) -> list[tuple[Examples, HeldOutWindows]]:
    """Each feature fires on one word; its examples and windows are made up at random."""
    return [planted_one(number, windows, tokens, examples, seed) for number in range(features)]


def planted_one(
    number: int, windows: int, tokens: int, examples: int, seed: int
) -> tuple[Examples, HeldOutWindows]:
    random = np.random.default_rng((seed, number))
    word = WORDS[1 + number % (len(WORDS) - 1)]
    shown = _texts(random, examples, tokens)
    shown[0][0] = word
    texts = _texts(random, windows, tokens)
    fires = np.array([[one == word for one in text] for text in texts]).reshape(windows, tokens)
    marks = fires.copy()
    for row in np.flatnonzero(~fires.any(axis=1)):
        marks[row, random.integers(tokens)] = True
    held = HeldOutWindows(
        texts_WK=texts,
        active_W=fires.any(axis=1),
        marks_WK=marks,
        marked_right_W=fires.any(axis=1),
    )
    levels = np.array([[9 if one == word else 0 for one in text] for text in shown])
    return Examples(number, shown, levels), held


def _texts(random: np.random.Generator, count: int, tokens: int) -> list[list[str]]:
    return [[WORDS[at] for at in random.integers(len(WORDS), size=tokens)] for _ in range(count)]


def fires(examples: Examples, texts: Sequence[Sequence[str]]) -> np.ndarray:
    """Where the feature of `planted` fires."""
    word = WORDS[1 + examples.feature % (len(WORDS) - 1)]
    return np.array([[one == word for one in text] for text in texts])
