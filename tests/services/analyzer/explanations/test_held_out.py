"""Held-out windows, examples, marks and levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analyzer.codes.windows import bins_of
from services.analyzer.explanations.held_out import (
    Windows,
    levels_of,
    random_starts,
    spread_starts,
)
from tests.support.explanations.held_out_windows import (
    CONTEXT,
    CONTEXTS,
    WINDOW,
    planted,
    windows_of,
)
from tests.support.planted import codes_of


@given(st.integers(0, 2**32 - 1), st.integers(1, CONTEXT), st.floats(0.001, 0.5))
@settings(max_examples=25, deadline=None)
def test_windows_stay_within_odd_contexts_and_never_begin_twice_at_a_token(
    seed: int, window: int, density: float
) -> None:
    dense = planted(seed, density=density)
    windows = windows_of(codes_of(dense).by_feature(), window=window, seed=seed)
    first, last = windows.places()[:, 0] // CONTEXT, windows.places()[:, -1] // CONTEXT
    assert (first == last).all()
    assert (first % 2 == 1).all()
    pairs = np.stack([windows.feature_W, windows.start_W])
    assert len(np.unique(pairs, axis=1).T) == len(pairs.T)
    expected = dense[windows.places(), windows.feature_W[:, None]]
    assert (windows.activations_WK == expected).all()


def test_every_active_window_fires_and_random_ones_need_not() -> None:
    windows = windows_of(codes_of(planted(0, density=0.01)).by_feature())
    assert windows.fires()[windows.active_W].all()
    assert not windows.fires()[~windows.active_W].all()


def test_active_windows_come_first_and_from_strong_to_weak() -> None:
    values = np.array([3.0, 9.0, 1.0, 5.0])
    dense = np.zeros((CONTEXT * CONTEXTS, 1))
    dense[CONTEXT * np.array([1, 3, 5, 7]) + 4, 0] = values
    windows = windows_of(codes_of(dense).by_feature())
    assert windows.activations_WK.max(axis=1)[:4].tolist() == [9, 5, 3, 1]
    assert windows.active_W.tolist() == [True] * 4 + [False] * 5
    assert windows.number_W.tolist() == list(range(9))


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_the_maximum_is_always_among_the_windows(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    positions = np.sort(rng.choice(4000, 300, replace=False))
    values = rng.exponential(1, 300)
    starts = spread_starts(positions, values, 40, 10, count, (seed,))
    strongest = positions[np.argmax(values)]
    assert ((starts <= strongest) & (strongest < starts + 10)).any()
    assert len(starts) == count


def test_every_bin_of_activation_gives_a_window_before_any_gives_a_second() -> None:
    # Most firings are weak; each of the ten bins has at least one.
    values = np.concatenate([np.full(500, 0.5), np.arange(1.5, 10.5)]).astype(np.float32)
    positions = np.arange(len(values)) * 40
    starts = spread_starts(positions, values, 40, 40, 10, (1,))
    assert sorted(bins_of(values)[starts // 40].tolist()) == list(range(10))


def test_windows_of_a_feature_do_not_depend_on_which_others_are_asked_for() -> None:
    dense = planted(1)
    every = windows_of(codes_of(dense).by_feature())
    some = windows_of(codes_of(dense).only(np.array([3, 7])).by_feature(), [3, 7])
    chosen = np.isin(every.feature_W, [3, 7])
    for name in Windows.__dataclass_fields__:
        assert (getattr(some, name) == getattr(every, name)[chosen]).all()


def test_random_windows_are_drawn_evenly_whatever_the_feature_does() -> None:
    # 30 odd contexts x 17 places: every one is drawn about equally often.
    counts = np.zeros(CONTEXT * CONTEXTS)
    for seed in range(3000):
        drawn = random_starts(np.array([29]), CONTEXTS, CONTEXT, WINDOW, 5, (seed,))
        assert len(drawn) == 5
        counts[drawn] += 1
    inside = np.arange(len(counts)) % CONTEXT
    allowed = ((np.arange(len(counts)) // CONTEXT) % 2 == 1) & (inside <= CONTEXT - WINDOW)
    allowed[29] = False
    assert counts[~allowed].sum() == 0
    expected = counts.sum() / allowed.sum()
    chi_square = ((counts[allowed] - expected) ** 2 / expected).sum()
    assert chi_square < allowed.sum() + 5 * np.sqrt(2 * allowed.sum())


def test_random_windows_run_out_where_there_are_no_more_places() -> None:
    drawn = random_starts(np.array([10, 30]), 4, 10, 10, 9, (0,))
    assert drawn.tolist() == []
    assert random_starts(np.array([10]), 4, 10, 10, 9, (0,)).tolist() == [30]


def test_a_feature_that_fires_only_in_even_contexts_has_no_active_windows() -> None:
    dense = np.zeros((CONTEXT * CONTEXTS, 1))
    dense[CONTEXT * 2 * np.arange(5), 0] = 1
    windows = windows_of(codes_of(dense).by_feature())
    assert not windows.active_W.any()
    assert len(windows.start_W) == 5


def test_windows_know_where_each_feature_begins() -> None:
    dense = planted(3, features=4)
    dense[:, 2] = 0
    windows = windows_of(codes_of(dense).by_feature(), active=2, random=0)
    assert windows.bounds(np.arange(4)).tolist() == [0, 2, 4, 4, 6]
    with pytest.raises(ValueError, match="other features"):
        windows.bounds(np.array([0, 1]))


# ------------------------------------------------------------------------------- levels


def test_levels_are_zero_only_where_silent_and_nine_at_the_maximum_and_above() -> None:
    values = np.array([0, 1e-9, 0.111, 0.112, 0.5, 0.889, 1, 2], np.float32)
    assert levels_of(values, 1.0).tolist() == [0, 1, 1, 2, 5, 9, 9, 9]


@given(st.floats(0, 2.0**100, width=32, exclude_min=True))
def test_the_maximum_is_in_the_highest_level_whatever_it_is(maximum: float) -> None:
    assert levels_of(np.array([maximum], np.float32), maximum).tolist() == [9]
