"""Exact Pearson from sparse activations, against numpy and against itself in other chunks."""

from __future__ import annotations

import os
import warnings
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analyzer.codes.correlate import pair_correlation, search
from tests.support.oracles import pearson
from tests.support.planted import codes_of, firing

Dense = npt.NDArray[np.float64]


def reference(parent: Dense, child: Dense) -> Dense:
    """numpy.corrcoef, NaN where a feature is exactly constant."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        r = np.atleast_2d(np.corrcoef(parent.T, child.T))[: parent.shape[1], parent.shape[1] :]
    r[(parent == parent[:1]).all(axis=0)] = np.nan
    r[:, (child == child[:1]).all(axis=0)] = np.nan
    return r


@st.composite
def activations(draw: st.DrawFn) -> tuple[Dense, Dense]:
    """Two models' dense activations: silent, sparse, dense, constant, shifted and equal columns."""
    seed, tokens = draw(st.integers(0, 2**32 - 1)), draw(st.integers(2, 60))
    rng = np.random.default_rng(seed)
    sides = []
    for width in draw(st.tuples(st.integers(1, 7), st.integers(1, 7))):
        side = firing(rng, tokens, width, 1.0) * (rng.random((tokens, width)) < rng.random(width))
        side[:, rng.random(width) < 0.2] = draw(st.sampled_from([0.0, 1.0, 3.3]))
        side[:, rng.random(width) < 0.2] += draw(st.sampled_from([0.0, 10.0, 1e4]))
        sides.append(side.astype(np.float32).astype(np.float64))
    shared = min(sides[0].shape[1], sides[1].shape[1])
    if draw(st.booleans()):
        sides[1][:, :shared] = sides[0][:, :shared]
    return sides[0], sides[1]


@given(activations(), st.integers(1, 70), st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_sparse_pearson_equals_numpy_corrcoef_for_any_chunking(
    sides: tuple[Dense, Dense], chunk: int, rows: int
) -> None:
    expected = reference(*sides)
    found = pearson(codes_of(sides[0]), codes_of(sides[1]), chunk, rows)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


@given(activations(), st.integers(1, 70), st.integers(1, 8))
@settings(max_examples=150, deadline=None)
def test_search_finds_the_best_partners_and_all_candidates(
    sides: tuple[Dense, Dense], chunk: int, rows: int
) -> None:
    r = np.nan_to_num(reference(*sides), nan=-2)
    found = search(codes_of(sides[0]), codes_of(sides[1]), 0.2, chunk=chunk, rows=rows)
    for best, best_r, table in (
        (found.best_F, found.best_r_F, r),
        (found.best_G, found.best_r_G, r.T),
    ):
        highest = table.max(axis=1)
        told = np.abs(highest) > 1e-9  # between these, rounding decides what is above 0
        assert ((best >= 0) == (highest > 0))[told].all()
        some = told & (best >= 0)
        np.testing.assert_allclose(best_r[some], highest[some], atol=1e-10)
        np.testing.assert_allclose(table[some, best[some]], highest[some], atol=1e-10)
    clear = np.abs(r - 0.2) > 1e-9
    listed = np.zeros(r.shape, bool)
    listed[found.pairs.parent_Z, found.pairs.child_Z] = True
    assert (listed == (r >= 0.2))[clear].all()
    order = np.lexsort((found.pairs.child_Z, found.pairs.parent_Z))
    assert (order == np.arange(len(order))).all()


def test_large_constant_offsets_lose_no_digits() -> None:
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((5000, 6))
    shifted = noise + 10.0 ** np.arange(1, 7)  # mean / sd up to a million
    expected = np.corrcoef(shifted.T, noise[:, ::-1].T)[:6, 6:]
    found = pearson(codes_of(shifted), codes_of(noise[:, ::-1] - noise.min()), chunk=700)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)


def test_a_constant_feature_has_no_correlation_and_is_no_partner() -> None:
    dense = firing(np.random.default_rng(0), 50, 4, 0.4).astype(float)
    dense[:, 1] = 0
    dense[:, 2] = 0.1  # 0.1 * 50 / 50 is not 0.1 in floating point
    r = pearson(codes_of(dense), codes_of(dense))
    assert np.isnan(r[[1, 2]]).all()
    assert np.isnan(r[:, [1, 2]]).all()
    assert np.diag(r)[[0, 3]] == pytest.approx([1, 1])
    assert search(codes_of(dense), codes_of(dense), 0.2).best_F.tolist() == [0, -1, -1, 3]


def test_features_not_in_use_are_nobodys_partner() -> None:
    codes = codes_of(firing(np.random.default_rng(1), 200, 5, 0.2))
    use = np.array([True, True, False, True, True])
    found = search(codes, codes, 0.2, use_F=use, use_G=use)
    assert found.best_F.tolist() == [0, 1, -1, 3, 4]
    assert found.best_G.tolist() == [0, 1, -1, 3, 4]
    assert 2 not in {*found.pairs.parent_Z.tolist(), *found.pairs.child_Z.tolist()}


def test_of_equal_partners_the_lowest_number_is_best() -> None:
    one = firing(np.random.default_rng(2), 100, 1, 0.3)
    found = search(codes_of(one), codes_of(np.repeat(one, 3, axis=1)), 0.2)
    assert found.best_F.tolist() == [0]
    found = search(codes_of(np.repeat(one, 3, axis=1)), codes_of(one), 0.2, rows=1)
    assert found.best_G.tolist() == [0]


def test_the_number_of_threads_changes_no_bit() -> None:
    rng = np.random.default_rng(4)
    parent, child = codes_of(firing(rng, 400, 60, 0.1)), codes_of(firing(rng, 400, 70, 0.1))
    runs = []
    for threads in ("1", "3"):
        with mock.patch.dict(os.environ, {"LINEAMENT_THREADS": threads}):
            runs.append(search(parent, child, 0.05, rows=7, chunk=90))
    np.testing.assert_array_equal(runs[0].pairs.r_Z, runs[1].pairs.r_Z)
    np.testing.assert_array_equal(runs[0].best_F, runs[1].best_F)
    np.testing.assert_array_equal(runs[0].best_r_G, runs[1].best_r_G)


@given(activations())
@settings(max_examples=50, deadline=None)
def test_the_correlation_of_one_pair_equals_that_of_the_table(sides: tuple[Dense, Dense]) -> None:
    parent, child = codes_of(sides[0]), codes_of(sides[1])
    table = pearson(parent, child)
    left, right = parent.by_feature(), child.by_feature()
    for i in range(parent.width):
        for j in range(child.width):
            r = pair_correlation(left.of(i), right.of(j), parent.tokens)
            np.testing.assert_allclose(r, table[i, j], rtol=0, atol=1e-10)


def test_streams_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="3 token positions against 4"):
        pearson(codes_of(np.ones((3, 2))), codes_of(np.ones((4, 2))))


def test_an_empty_stream_correlates_nothing() -> None:
    empty = codes_of(np.zeros((0, 3)))
    assert np.isnan(pearson(empty, empty)).all()
    assert search(empty, empty, 0.2).best_F.tolist() == [-1, -1, -1]


def test_rolling_codes_rolls_the_token_axis() -> None:
    dense = firing(np.random.default_rng(5), 31, 4, 0.3)
    for shift in (0, 1, 30, 31, 40, -3):
        rolled = codes_of(dense).rolled(shift)
        np.testing.assert_array_equal(rolled.matrix().toarray(), np.roll(dense, shift, axis=0))
