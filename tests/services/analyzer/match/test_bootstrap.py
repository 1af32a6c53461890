"""Bootstrap over documents, against computing everything again on the resampled tokens."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from services.analyzer.codes.correlate import Pairs, search
from services.analyzer.match import bootstrap as module
from services.analyzer.match.bootstrap import NEAR, DocumentSums, bootstrap, draw_counts
from tests.support.planted import codes_of, firing

THRESHOLD = 0.8


def documents(rng: np.random.Generator, tokens: int) -> Any:
    """Documents of 5 to 60 tokens."""
    lengths = rng.integers(5, 61, tokens)
    return np.repeat(np.arange(tokens), lengths)[:tokens].astype(np.int32)


def models(rng: np.random.Generator, tokens: int) -> tuple[Any, Any]:
    """A child with features around the threshold, some of them twice, two very dense."""
    parent = firing(rng, tokens, 24, 0.1)
    parent[:, :2] = rng.standard_normal((tokens, 2)) + 30
    noisy = parent * (rng.random(parent.shape) < np.linspace(0.55, 0.75, 24))
    noisy[:, :2] = parent[:, :2] + rng.standard_normal((tokens, 2)) * 0.7
    again = parent[:, 10:] * (rng.random((tokens, 14)) < 0.75)
    return parent, np.concatenate([noisy, again, firing(rng, tokens, 5, 0.1)], axis=1)


def resampled(documents_T: Any, replicate: int) -> Any:
    """The token positions of a replicate."""
    times_D = draw_counts(replicate, int(documents_T[-1]) + 1, len(documents_T))
    positions = [np.flatnonzero(documents_T == number) for number in range(len(times_D))]
    return np.concatenate([np.tile(where, n) for where, n in zip(positions, times_D, strict=True)])


def correlation(parent: Any, child: Any) -> Any:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return np.corrcoef(parent.T, child.T)[: parent.shape[1], parent.shape[1] :]


def by_brute_force(parent: Any, child: Any, positions: Any) -> dict[str, float]:
    """Shares by the three rules, from the dense table of the resampled tokens."""
    r = np.nan_to_num(correlation(parent[positions], child[positions]))
    high = np.where(r >= THRESHOLD, r, 0)
    chosen = linear_sum_assignment(high, maximize=True)
    best = r.argmax(axis=1)
    mutual = (r.argmax(axis=0)[best] == np.arange(len(r))) & (r.max(axis=1) >= THRESHOLD)
    return {
        "share": float((high[chosen] > 0).mean() * len(chosen[0]) / len(r)),
        "share_any": float((r.max(axis=1) >= THRESHOLD).mean()),
        "share_mutual": float(mutual.mean()),
    }


@pytest.fixture(scope="module")
def world() -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    parent, child = models(rng, 4000)
    return parent.astype("f8"), child.astype("f8"), documents(rng, 4000)


def near_pairs(parent: Any, child: Any) -> Pairs:
    return search(codes_of(parent), codes_of(child), THRESHOLD - NEAR).pairs


def test_every_replicate_equals_computing_it_again_on_the_resampled_tokens(
    world: tuple[Any, Any, Any],
) -> None:
    parent, child, documents_T = world
    pairs = near_pairs(parent, child)
    found = bootstrap(
        codes_of(parent), codes_of(child), documents_T, pairs, 24, THRESHOLD, resamples=25
    )
    for replicate in range(25):
        expected = by_brute_force(parent, child, resampled(documents_T, replicate))
        assert {name: found[name][replicate] for name in found} == pytest.approx(expected)
    # The replicates differ, or this would say little.
    assert all(len(set(shares.tolist())) >= 4 for shares in found.values())


def test_correlations_of_replicates_are_exact_in_blocks_of_any_size(
    world: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child, documents_T = world
    pairs = near_pairs(parent, child)
    expected = [
        correlation(parent[positions], child[positions])[pairs.parent_Z, pairs.child_Z]
        for positions in (resampled(documents_T, replicate) for replicate in range(3, 6))
    ]
    for small in (False, True):
        if small:
            monkeypatch.setattr(module, "BLOCK_ENTRIES", 3000)
            monkeypatch.setattr(module, "SUM_BYTES", 8 * 3 * 7)
            monkeypatch.setattr("services.analyzer.codes.standardise.CHUNK_ENTRIES", 5000)
        sums = DocumentSums(codes_of(parent), codes_of(child), documents_T, pairs)
        blocks = list(sums.correlations(3, 6))
        assert (len(blocks) > 3) == small
        r_EB = np.concatenate([r for _, r in blocks])
        np.testing.assert_allclose(r_EB.T, expected, rtol=0, atol=1e-10)


def test_a_replicate_does_not_depend_on_how_many_are_drawn_at_a_time(
    world: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child, documents_T = world
    pairs = near_pairs(parent, child)
    sides = codes_of(parent), codes_of(child)
    whole = bootstrap(*sides, documents_T, pairs, 24, THRESHOLD, resamples=8)
    monkeypatch.setattr(module, "WEIGHT_BYTES", 3 * 8 * (int(documents_T[-1]) + 1))
    parts = bootstrap(*sides, documents_T, pairs, 24, THRESHOLD, resamples=7)
    for name, shares in whole.items():
        np.testing.assert_array_equal(shares[:7], parts[name])


def test_two_edges_over_one_stream_draw_the_same_documents() -> None:
    assert draw_counts(3, 50, 2000).tolist() == draw_counts(3, 50, 2000).tolist()
    assert draw_counts(3, 50, 2000).tolist() != draw_counts(4, 50, 2000).tolist()
    assert draw_counts(3, 50, 2000).sum() == 50


def test_a_feature_that_a_replicate_does_not_draw_persists_in_none_of_it() -> None:
    dense = np.zeros((100, 1))
    dense[:10, 0] = np.arange(1, 11)
    documents_T = (np.arange(100) // 10).astype(np.int32)  # it fires in the first of ten only
    pairs = near_pairs(dense, dense)
    found = bootstrap(codes_of(dense), codes_of(dense), documents_T, pairs, 1, 0.8, resamples=40)
    missing = [draw_counts(replicate, 10, 100)[0] == 0 for replicate in range(40)]
    assert found["share"].tolist() == [0.0 if gone else 1.0 for gone in missing]
    assert 0 < sum(missing) < 40


def test_no_live_features_have_no_share() -> None:
    silent = codes_of(np.zeros((20, 2)))
    none = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))
    found = bootstrap(silent, silent, np.zeros(20, np.int32), none, 0, 0.8, resamples=3)
    assert np.isnan(found["share"]).all()
    assert len(found["share"]) == 3


def test_two_hundred_replicates_of_512_features_over_100_000_tokens_take_seconds() -> None:
    rng = np.random.default_rng(1)
    positions = [rng.choice(100_000, 4000, replace=False) for _ in range(512)]
    parent = np.zeros((100_000, 512), np.float32)
    for feature, where in enumerate(positions):
        parent[where, feature] = rng.exponential(1.0, 4000) + 0.05
    parent_codes = codes_of(parent)
    child_codes = codes_of(parent * (rng.random(parent.shape, np.float32) < 0.9))
    documents_T = (np.arange(100_000) // 150).astype(np.int32)
    pairs = search(parent_codes, child_codes, THRESHOLD - NEAR).pairs
    start = time.process_time()
    found = bootstrap(parent_codes, child_codes, documents_T, pairs, 512, THRESHOLD, 200)
    assert time.process_time() - start < 10
    assert found["share"].mean() > 0.9
