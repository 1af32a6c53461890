"""The null control: the child's documents rolled within each corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.analyzer.match.null import shift_of
from services.analyzer.match.shares import RULES, THRESHOLDS
from shared.stages.stage import StageError
from tests.support.oracles import match_codes
from tests.support.planted import codes_of, encode_artifact, firing, match_artifact


def order_of(shift: Any) -> Any:
    """Which token stands at each place."""
    return np.concatenate([np.arange(start, stop) for start, stop in shift.spans])


def test_documents_are_rolled_whole_within_their_corpus_by_about_the_step() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 30, 400)
    documents_T = np.repeat(np.arange(400), lengths)[:6000].astype(np.int32)
    documents_T[2000:] += 1  # a document ends with its corpus
    for number in range(1, 5):
        shift = shift_of(number, 4, documents_T, [2000, 4000])
        order = order_of(shift)
        assert sorted(order[:2000].tolist()) == list(range(2000))
        assert sorted(order[2000:].tolist()) == list(range(2000, 6000))
        assert shift.tokens == pytest.approx(6000 * number / 5, abs=60)
        # A document is never cut: its tokens still stand side by side.
        assert (np.diff(documents_T[order]) != 0).sum() == documents_T[-1]
        assert (order != np.arange(6000)).all()


def test_a_single_long_document_is_cut_so_that_every_shift_is_another() -> None:
    one = np.zeros(1000, np.int32)
    assert [shift_of(k, 4, one, [1000]).tokens for k in range(1, 5)] == [200, 400, 600, 800]


def test_shifted_codes_are_the_rearranged_tokens() -> None:
    dense = firing(np.random.default_rng(1), 120, 4, 0.3)
    shift = shift_of(1, 2, (np.arange(120) // 7).astype(np.int32), [70, 50])
    moved = codes_of(dense).rearranged(shift.spans)
    np.testing.assert_array_equal(moved.matrix().toarray(), dense[order_of(shift)])


def test_the_stage_reports_the_mean_of_matching_the_rearranged_streams(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    # Dense features on few tokens, and a low threshold: chance matches some.
    parent, child = firing(rng, 60, 30, 0.15), firing(rng, 60, 40, 0.15)
    documents_T = np.arange(60) // 4
    artifacts = [
        encode_artifact(codes_of(dense), tmp_path / name, documents_T, [40, 20])
        for name, dense in (("parent", parent), ("child", child))
    ]
    output, results = match_artifact(
        *artifacts, tmp_path / "match", threshold=0.5, min_firings=4, shifts=3
    )
    shifts = [shift_of(k, 3, documents_T.astype(np.int32), [40, 20]) for k in (1, 2, 3)]
    edges = [
        match_codes(codes_of(parent), codes_of(child[order_of(shift)]), 0.5, 4) for shift in shifts
    ]
    for name in RULES:
        expected = np.mean([edge.counts(0.5)[name] for edge in edges])
        assert results["null"][name] == pytest.approx(expected)
    assert 0 < results["null"]["share_mutual"] < results["null"]["share_any"] < 1
    assert results["null"]["shifts"] == [shift.tokens for shift in shifts]
    first = results["curve"][0]
    assert first["null"] == results["null"]["share"]
    assert [row["threshold"] for row in results["curve"]] == list(THRESHOLDS)
    with np.load(output / "null.npz", allow_pickle=False) as stored:
        live = edges[0].parent.alive_F
        for row, edge in zip(stored["best_r_parent"], edges, strict=True):
            np.testing.assert_allclose(row, np.nan_to_num(edge.parent.best_r_F[live]), atol=1e-12)
        assert (stored["firings_parent"] == edges[0].parent.firings_F[live]).all()


def test_features_of_independent_text_keep_no_match_and_a_kept_feature_is_significant(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    kept, gone, new = (firing(rng, 6000, 40, 0.01) for _ in range(3))
    artifacts = [
        encode_artifact(codes_of(np.concatenate(both, axis=1)), tmp_path / name)
        for name, both in (("parent", (kept, gone)), ("child", (new, kept)))
    ]
    _, results = match_artifact(*artifacts, tmp_path / "match", shifts=5)
    assert results["null"]["share_any"] == 0
    assert results["share"] == 0.5
    # Those that are kept, and of the others at most about one in twenty.
    assert 40 <= results["significant"] <= 44


def test_more_shifts_than_tokens_are_refused_because_one_would_move_nothing(
    tmp_path: Path,
) -> None:
    codes = encode_artifact(codes_of(np.ones((5, 2))), tmp_path / "codes", np.zeros(5))
    with pytest.raises(StageError, match="shifts=20 is too many for a stream of 5 tokens"):
        match_artifact(codes, codes, tmp_path / "match", shifts=20)


@pytest.mark.parametrize("name", ["shifts", "resamples", "parts"])
def test_a_negative_count_is_refused(tmp_path: Path, name: str) -> None:
    codes = encode_artifact(codes_of(np.ones((5, 2))), tmp_path / "codes")
    with pytest.raises(StageError, match=f"{name} must not be negative"):
        match_artifact(codes, codes, tmp_path / "match", **{name: -1})
