"""Splits and merges: which features are sums of others, and which only look like it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import nnls

from services.analyzer.codes import products
from services.analyzer.codes.products import blocks_of, correlations, firings_together
from services.analyzer.codes.standardise import Standardised, chunk_bounds
from shared.lineage.side import Side
from shared.lineage.statuses import statuses
from tests.support.oracles import match_codes
from tests.support.planted import codes_of, firing

TOKENS = 20_000


def dealt(rng: np.random.Generator, whole: Any, shares: tuple[float, ...]) -> Any:
    """Parts of one column: each firing goes to one of them."""
    turn = rng.choice(len(shares), len(whole), p=shares)
    return np.stack([whole * (turn == number) for number in range(len(shares))], axis=1)


def parts_of(edge: Any, feature: int) -> list[int]:
    return edge.parent.parts(feature).tolist()


@pytest.mark.parametrize(
    "shares", [(0.5, 0.5), (0.6, 0.4), (0.4, 0.35, 0.25), (0.25, 0.25, 0.25, 0.25)]
)
def test_a_feature_dealt_out_to_several_is_split_into_exactly_these(
    shares: tuple[float, ...],
) -> None:
    rng = np.random.default_rng(0)
    whole, noise = firing(rng, TOKENS, 1, 0.03), firing(rng, TOKENS, 30, 0.03)
    child = np.concatenate([noise, dealt(rng, whole[:, 0], shares)], axis=1)
    edge = match_codes(codes_of(whole), codes_of(child), 0.8, 10)
    assert parts_of(edge, 0) == list(range(30, 30 + len(shares)))
    assert edge.parent.multiple_r_F[0] == pytest.approx(1, abs=1e-6)
    of_parent, of_child = edge.statuses(0.8)
    assert of_parent.tolist() == ["split"]
    assert of_child.tolist() == ["emerge"] * 30 + ["split"] * len(shares)


def test_no_more_parts_are_taken_than_allowed_and_fewer_than_two_are_none() -> None:
    rng = np.random.default_rng(1)
    whole = firing(rng, TOKENS, 1, 0.03)
    child = codes_of(dealt(rng, whole[:, 0], (0.25, 0.25, 0.25, 0.25)))
    for most, count in ((0, 0), (1, 0), (2, 2), (3, 3), (4, 4), (9, 4)):
        edge = match_codes(codes_of(whole), child, 0.8, 10, parts=most)
        assert len(parts_of(edge, 0)) == count
        assert np.isnan(edge.parent.multiple_r_F[0]) == (count == 0)


def test_the_multiple_correlation_is_that_of_non_negative_least_squares() -> None:
    rng = np.random.default_rng(2)
    whole = firing(rng, TOKENS, 5, 0.03)
    pieces = [dealt(rng, whole[:, n], (0.5, 0.3, 0.2)) * [1, 2, 0.5] for n in range(5)]
    child = np.concatenate(pieces, axis=1) * (rng.random((TOKENS, 15)) < 0.9)
    edge = match_codes(codes_of(whole), codes_of(child), 0.8, 10)
    centred = child - child.mean(axis=0)
    for feature in range(5):
        parts = parts_of(edge, feature)
        assert parts == [3 * feature, 3 * feature + 1, 3 * feature + 2]
        target = whole[:, feature].astype("f8")
        target -= target.mean()
        weights, _ = nnls(centred[:, parts], target)
        expected = np.corrcoef(target, centred[:, parts] @ weights)[0, 1]
        found = edge.parent.multiple_r_F[feature]
        assert found == pytest.approx(expected, abs=1e-6)


def test_parts_do_not_depend_on_the_threshold() -> None:
    rng = np.random.default_rng(3)
    whole = firing(rng, TOKENS, 6, 0.02)
    child = np.concatenate([dealt(rng, whole[:, n], (0.6, 0.4)) for n in range(6)], axis=1)
    low, high = (match_codes(codes_of(whole), codes_of(child), t, 10) for t in (0.5, 0.95))
    np.testing.assert_array_equal(low.parent.parts_P, high.parent.parts_P)
    np.testing.assert_array_equal(low.parent.multiple_r_F, high.parent.multiple_r_F)
    # At .5 the larger part is a match of its own.
    assert set(low.statuses(0.5)[0].tolist()) == {"persist"}
    assert set(high.statuses(0.95)[0].tolist()) == {"split"}


def test_two_noisy_copies_of_a_feature_are_no_split() -> None:
    rng = np.random.default_rng(4)
    whole = firing(rng, TOKENS, 10, 0.03)
    copies = [whole * (rng.random(whole.shape) < 0.54) for _ in range(2)]
    edge = match_codes(codes_of(whole), codes_of(np.concatenate(copies, axis=1)), 0.8, 10)
    both = np.corrcoef(whole.T, (copies[0] + copies[1]).T)[:10, 10:].diagonal()
    would_be = (both >= 0.8) & (edge.parent.best_r_F < 0.8)
    assert would_be.sum() >= 8
    assert set(edge.statuses(0.8)[0][would_be].tolist()) == {"disappear"}


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_near_duplicates_of_one_part_are_not_counted_twice(noise: float) -> None:
    rng = np.random.default_rng(5)
    whole = firing(rng, TOKENS, 1, 0.03)
    halves = dealt(rng, whole[:, 0], (0.5, 0.5))
    copies = halves[:, :1] * (1 + noise * rng.standard_normal((TOKENS, 3)))
    child = np.maximum(np.concatenate([halves[:, :1], copies, halves[:, 1:]], axis=1), 0)
    edge = match_codes(codes_of(whole), codes_of(child), 0.8, 10)
    assert len(parts_of(edge, 0)) == 2
    assert parts_of(edge, 0)[1] == 4


def test_a_strong_accident_on_one_token_is_no_part() -> None:
    rng = np.random.default_rng(6)
    parent = np.zeros((TOKENS, 1))
    where = rng.choice(TOKENS, 20, replace=False)
    parent[where, 0] = 1.0
    parent[where[0], 0] = 4.0
    most = parent * (np.arange(TOKENS)[:, None] != where[0])  # all firings but the strongest
    other = np.zeros((TOKENS, 1))
    other[rng.choice(TOKENS, 11, replace=False), 0] = 0.3
    other[where[0], 0] = 6.0  # an unrelated feature that happens to fire there
    child = codes_of(np.concatenate([most, other], axis=1))
    edge = match_codes(codes_of(parent), child, 0.9, 10)
    assert parts_of(edge, 0) == []


def test_a_part_with_a_match_of_its_own_makes_no_split() -> None:
    rng = np.random.default_rng(7)
    whole = firing(rng, TOKENS, 1, 0.03)
    halves = dealt(rng, whole[:, 0], (0.5, 0.5))
    parent = np.concatenate([whole, halves[:, :1]], axis=1)
    edge = match_codes(codes_of(parent), codes_of(halves), 0.8, 10)
    assert parts_of(edge, 0) == [0, 1]
    assert edge.statuses(0.8)[0].tolist() == ["disappear", "persist"]
    assert edge.statuses(0.8)[1].tolist() == ["persist", "emerge"]


# ----------------------------------------------------------------------------- statuses


def side(alive: Any, match: Any, multiple_r: Any, parts: list[list[int]]) -> Side:
    blank = np.zeros(len(alive))
    return Side(
        firings_F=blank.astype(int),
        alive_F=np.array(alive, bool),
        best_F=blank.astype(int),
        best_r_F=blank,
        mutual_F=blank.astype(bool),
        partner_F=np.array(match),
        r_F=blank,
        multiple_r_F=np.array(multiple_r, np.float64),
        starts_F=np.cumsum([0, *map(len, parts)]),
        parts_P=np.array([part for own in parts for part in own], np.int64),
    )


def test_persist_goes_before_split_before_merge_and_rare_comes_last() -> None:
    nan = np.nan
    # 0 persists; 1 = children 1 + 2; 2 and 3 are parts of child 3, and 2 = children 1 + 4 too.
    parent = side(
        [1, 1, 1, 1, 0, 1], [0, -1, -1, -1, -1, -1], [0.9, 0.85, 0.81, nan, nan, 0.79],
        [[1, 2], [1, 2], [1, 4], [], [], [1, 2]],
    )  # fmt: skip
    child = side(
        [1, 1, 1, 1, 1, 0], [0, -1, -1, -1, -1, -1], [nan, nan, nan, 0.9, nan, nan],
        [[], [], [], [2, 3], [], []],
    )  # fmt: skip
    of_parent, of_child = statuses(0.8, parent, child)
    assert of_parent.tolist() == ["persist", "split", "split", "merge", "rare", "disappear"]
    assert of_child.tolist() == ["persist", "split", "split", "merge", "split", "rare"]


def test_features_without_parts_are_told_by_their_matches_alone() -> None:
    alone = side([1, 0], [-1, -1], [np.nan, np.nan], [[], []])
    assert [found.tolist() for found in statuses(0.8, alone, alone)] == [
        ["disappear", "rare"],
        ["emerge", "rare"],
    ]


# ----------------------------------------------------------------------------- products


@pytest.mark.parametrize("chunk", [None, 90])
def test_correlations_of_listed_pairs_equal_numpys_in_blocks_of_any_size(
    chunk: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "BLOCK_ENTRIES", 500)
    rng = np.random.default_rng(8)
    dense = firing(rng, 400, 12, 0.3)
    dense[:, 0] = rng.standard_normal(400) + 50
    codes = codes_of(dense)
    side = Standardised(codes, chunk_bounds(codes, codes, chunk), columns=True)
    left, right = np.divmod(rng.permutation(144), 12)
    expected = np.corrcoef(dense.T.astype("f8"))[left, right]
    np.testing.assert_allclose(correlations(side, side, left, right), expected, atol=1e-10)
    sparse = left * right > 0
    left, right = left[sparse], right[sparse]
    together = (dense > 0).T.astype(int) @ (dense > 0)
    assert (firings_together(side, side, left, right) == together[left, right]).all()


def test_blocks_hold_what_they_may_cost_or_a_single_pair() -> None:
    assert blocks_of(np.array([3, 3, 3, 9, 1, 1]), 6) == [(0, 2), (2, 3), (3, 4), (4, 6)]
    assert blocks_of(np.empty(0, np.int64), 6) == []
