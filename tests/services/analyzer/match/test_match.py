"""The match stage: rules, statuses, files and results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy.optimize import linear_sum_assignment

from services.analyzer.codes.correlate import search
from services.analyzer.match.cosine import Cosines
from services.analyzer.match.stage import run
from shared.lineage.assignment import matches_at, one_to_one
from shared.stages.stage import Leave, StageError
from tests.support.oracles import match_codes
from tests.support.planted import (
    codes_of,
    dense_of,
    encode_artifact,
    firing,
    match_artifact,
)
from tests.support.stages import make_stage, run_stage

PARAMETERS = {"threshold": 0.8, "min_firings": 10}
FILES = ("parent.parquet", "child.parquet", "candidates.npz", "bootstrap.npz", "null.npz")


def column(directory: Path, side: str, name: str) -> Any:
    return pq.read_table(directory / f"{side}.parquet")[name].to_numpy()


# --------------------------------------------------------------------------- assignment


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
@settings(max_examples=200, deadline=None)
def test_the_assignment_has_the_highest_possible_total(seed: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    # Few different values, so that ties are common.
    r = rng.integers(1, 6, (rows, columns)) / 5 * (rng.random((rows, columns)) < rng.random())
    parent, child = np.nonzero(r)
    chosen = one_to_one(parent, child, r[parent, child])
    best = linear_sum_assignment(r, maximize=True)
    assert r[parent[chosen], child[chosen]].sum() == pytest.approx(r[best].sum())
    assert len(set(parent[chosen])) == len(set(child[chosen])) == len(chosen)


def test_no_candidates_give_no_matches() -> None:
    none = np.empty(0, np.int64)
    assert one_to_one(none, none, np.empty(0)).tolist() == []


def test_a_feature_gives_up_its_best_partner_where_the_total_gains() -> None:
    # 0 prefers 0, but so does 1, which has no other partner.
    parent, child, r = np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([0.95, 0.9, 0.85])
    assert one_to_one(parent, child, r).tolist() == [1, 2]


def test_equal_totals_are_settled_the_same_way_every_time() -> None:
    parent, child = np.divmod(np.arange(400), 20)
    first = one_to_one(parent, child, np.full(400, 0.9))
    assert len(first) == 20
    assert (first == one_to_one(parent, child, np.full(400, 0.9))).all()


# ----------------------------------------------------------------------- the whole stage


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(0, 8))
@settings(max_examples=100, deadline=None)
def test_every_live_feature_has_one_fate(
    seed: int, features: int, others: int, min_firings: int
) -> None:
    rng = np.random.default_rng(seed)
    parent = firing(rng, 40, features, rng.random())
    mixed = rng.integers(0, features, others)
    child = parent[:, mixed] * (rng.random((40, others)) < 0.9)
    edge = match_codes(codes_of(parent), codes_of(child), 0.8, min_firings)
    counts = edge.counts(0.8)
    told = counts["persist"] + counts["disappear"] + counts["split"] + counts["merge"]
    assert told == counts["alive_parent"]
    told = counts["persist"] + counts["emerge"] + counts["split_child"] + counts["merge_child"]
    assert told == counts["alive_child"]
    assert counts["persist_mutual"] <= min(counts["persist_any"], counts["persist_any_child"])
    assert edge.parent.mutual_F.sum() == edge.child.mutual_F.sum()
    assert counts["persist"] <= min(counts["persist_any"], counts["persist_any_child"])
    assert sum(counts["best_r_parent"]["counts"]) == counts["alive_parent"]
    matched = np.flatnonzero(edge.parent.partner_F >= 0)
    assert (edge.child.partner_F[edge.parent.partner_F[matched]] == matched).all()
    assert (edge.parent.r_F[matched] >= 0.8).all()
    assert edge.parent.alive_F[matched].all()


def test_candidates_are_all_pairs_from_the_floor_on_so_a_threshold_can_move(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(3)
    parent = firing(rng, 1000, 30, 0.05)
    child = parent * (rng.random(parent.shape) < np.linspace(0.05, 1, 30))
    artifacts = [
        encode_artifact(codes_of(dense), tmp_path / name)
        for name, dense in (("parent", parent), ("child", child))
    ]
    output, _ = match_artifact(*artifacts, tmp_path / "match", floor=0.3)
    stored = np.load(output / "candidates.npz", allow_pickle=False)
    r = np.corrcoef(parent.T, child.T)[:30, 30:]
    alive = np.count_nonzero(parent, axis=0) >= 10, np.count_nonzero(child, axis=0) >= 10
    expected = np.argwhere((r >= 0.3) & alive[0][:, None] & alive[1])
    assert np.column_stack([stored["parent"], stored["child"]]).tolist() == expected.tolist()
    np.testing.assert_allclose(stored["r"], r[tuple(expected.T)], atol=1e-6)
    high = stored["r"] >= 0.6
    moved = one_to_one(stored["parent"][high], stored["child"][high], stored["r"][high])
    _, at_once = match_artifact(*artifacts, tmp_path / "other", threshold=0.6)
    assert len(moved) == at_once["persist"]


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    codes = codes_of(firing(np.random.default_rng(4), 500, 20, 0.1))
    artifact = encode_artifact(codes, tmp_path / "codes")
    outputs = [
        match_artifact(artifact, artifact, tmp_path / run, shifts=2, resamples=5)[0]
        for run in ("a", "b")
    ]
    for name in FILES:
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes()


def test_a_model_without_live_features_has_no_share(tmp_path: Path) -> None:
    silent = encode_artifact(codes_of(np.zeros((50, 3))), tmp_path / "silent")
    _, results = match_artifact(silent, silent, tmp_path / "match")
    assert (results["alive_parent"], results["persist"], results["share"]) == (0, 0, None)


def test_codes_of_different_streams_are_refused(tmp_path: Path) -> None:
    short = encode_artifact(codes_of(np.ones((3, 2))), tmp_path / "short")
    long = encode_artifact(codes_of(np.ones((5, 2))), tmp_path / "long")
    with pytest.raises(StageError, match="3 token positions against 5"):
        match_artifact(short, long, tmp_path / "match")


def test_a_threshold_of_zero_is_refused(tmp_path: Path) -> None:
    codes = encode_artifact(codes_of(np.ones((3, 2))), tmp_path / "codes")
    with pytest.raises(StageError, match="threshold"):
        match_artifact(codes, codes, tmp_path / "match", threshold=0.0)


def test_a_stage_that_is_asked_to_stop_leaves(tmp_path: Path) -> None:
    codes = encode_artifact(
        codes_of(firing(np.random.default_rng(0), 50, 3, 0.5)), tmp_path / "codes"
    )
    stage = make_stage(PARAMETERS, {"parent": codes, "child": codes}, tmp_path / "match")
    stage._stop.set()
    with pytest.raises(Leave):
        run(stage)
    assert list(stage.output.iterdir()) == []


def test_only_the_codes_of_a_feature_can_be_kept() -> None:
    dense = firing(np.random.default_rng(10), 60, 5, 0.3)
    kept = codes_of(dense).only(np.array([1, 4]))
    dense[:, [0, 2, 3]] = 0
    np.testing.assert_array_equal(dense_of(kept), dense)


def test_results_are_plain_numbers(tmp_path: Path) -> None:
    codes = encode_artifact(
        codes_of(firing(np.random.default_rng(0), 300, 12, 0.1)), tmp_path / "codes"
    )
    _, results = run_stage(run, PARAMETERS, {"parent": codes, "child": codes}, tmp_path / "match")
    edges = results["best_r_parent"]["edges"]
    assert (edges[0], edges[-1], len(edges)) == (0, 1, 51)
    assert results["best_r_parent"]["counts"][-1] == results["alive_parent"]


def test_candidates_below_the_threshold_change_no_match() -> None:
    rng = np.random.default_rng(11)
    parent, child = np.divmod(rng.permutation(400)[:150], 20)
    r = rng.random(150).round(2) + 0.01
    for threshold in (0.2, 0.5, 0.9):
        high = np.flatnonzero(r >= threshold)
        alone = one_to_one(parent[high], child[high], r[high])
        assert (matches_at(threshold, parent, child, r) == high[alone]).all()
    assert len(matches_at(2.0, parent, child, r)) == 0


# -------------------------------------------------------------- rules, controls, resuming


def dense_reference(parent: Any, child: Any, threshold: float) -> tuple[int, int, int]:
    """Numbers of parent features that persist: one-to-one, any, mutual best."""
    r = np.corrcoef(parent.T, child.T)[: parent.shape[1], parent.shape[1] :]
    high = np.where(r >= threshold, r, 0)
    best = r.argmax(axis=1)
    reached = r.max(axis=1) >= threshold
    mutual = reached & (r.argmax(axis=0)[best] == np.arange(len(r)))
    return (
        int((high[linear_sum_assignment(high, maximize=True)] > 0).sum()),
        int(reached.sum()),
        int(mutual.sum()),
    )


def competing(rng: np.random.Generator, tokens: int = 1500) -> tuple[Any, Any]:
    """Two models in which several features want the same partner."""
    source = firing(rng, tokens, 12, 0.2)

    def copies(count: int) -> Any:
        kept = rng.random((tokens, count)) < rng.uniform(0.5, 1, count)
        return source[:, rng.integers(0, 12, count)] * kept

    return copies(25), copies(30)


def test_the_curve_gives_all_three_rules_at_every_threshold(tmp_path: Path) -> None:
    parent, child = competing(np.random.default_rng(20))
    artifacts = [
        encode_artifact(codes_of(dense), tmp_path / name)
        for name, dense in (("parent", parent), ("child", child))
    ]
    # A floor above the curve must not cut the curve.
    _, results = match_artifact(*artifacts, tmp_path / "match", threshold=0.8, floor=0.75)
    thresholds = [row["threshold"] for row in results["curve"]]
    assert thresholds == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    for row in results["curve"]:
        expected = dense_reference(parent, child, row["threshold"])
        found = [row["share"] * 25, row["share_any"] * 25, row["share_mutual"] * 25]
        assert found == pytest.approx(expected)
        assert (row["null"], row["null_any"], row["null_mutual"]) == (None, None, None)
    at_eight = dense_reference(parent, child, 0.8)
    assert max(len(set(dense_reference(parent, child, t))) for t in thresholds) == 3
    names = ("persist", "persist_any", "persist_mutual")
    assert tuple(results[name] for name in names) == at_eight
    assert results["curve"][6]["share"] == results["share"]


def test_mutual_marks_both_features_of_a_pair_that_is_best_both_ways() -> None:
    parent, child = competing(np.random.default_rng(21))
    edge = match_codes(codes_of(parent), codes_of(child), 0.8, 10)
    marked = np.flatnonzero(edge.parent.mutual_F)
    assert len(marked) > 3
    assert (edge.child.best_F[edge.parent.best_F[marked]] == marked).all()
    assert edge.child.mutual_F[edge.parent.best_F[marked]].all()
    assert (edge.parent.best_r_F[marked] >= 0.8).all()


def test_controls_fill_intervals_p_q_and_the_files(tmp_path: Path) -> None:
    parent, child = competing(np.random.default_rng(22))
    artifacts = [
        encode_artifact(codes_of(dense), tmp_path / name)
        for name, dense in (("parent", parent), ("child", child))
    ]
    output, results = match_artifact(*artifacts, tmp_path / "match", shifts=3, resamples=60)
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    assert results["documents"] == 75
    for name in ("", "_any", "_mutual"):
        low, high = results[f"interval{name}"]
        assert low <= results[f"share{name}"] <= high
        assert 0 < high - low < 0.6
        with np.load(output / "bootstrap.npz", allow_pickle=False) as drawn:
            assert np.percentile(drawn[f"share{name}"], [2.5, 97.5]) == pytest.approx([low, high])
    p, q = column(output, "parent", "p"), column(output, "parent", "q")
    assert ((q >= p) & (p > 0) & (q <= 1)).all()
    assert results["significant"] == (q <= 0.05).sum()
    assert np.isfinite(column(output, "child", "p")).all()


def test_without_controls_their_results_are_null_and_their_files_empty(tmp_path: Path) -> None:
    codes = encode_artifact(codes_of(firing(np.random.default_rng(0), 300, 9, 0.2)), tmp_path / "c")
    output, results = match_artifact(codes, codes, tmp_path / "match")
    for name in ("interval", "interval_any", "interval_mutual", "null", "significant", "cosine"):
        assert results[name] is None
    for name in ("p", "q", "cosine"):
        assert pq.read_table(output / "parent.parquet")[name].null_count == 9
    with np.load(output / "bootstrap.npz", allow_pickle=False) as stored:
        assert [stored[name].shape for name in ("share", "share_any", "share_mutual")] == [(0,)] * 3
    with np.load(output / "null.npz", allow_pickle=False) as stored:
        assert stored["best_r_parent"].shape == (0, 9)


def test_a_resumed_stage_computes_only_what_is_left_and_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = competing(np.random.default_rng(23))
    inputs = {
        name: encode_artifact(codes_of(dense), tmp_path / name)
        for name, dense in (("parent", parent), ("child", child))
    }
    parameters = PARAMETERS | {"shifts": 3, "resamples": 10}
    whole, results = run_stage(run, parameters, inputs, tmp_path / "whole")

    stage = make_stage(parameters, inputs, tmp_path / "first")
    stage.checkpoint_seconds = 0
    searches: list[int] = []

    def counted(*given: Any, **named: Any) -> Any:
        searches.append(1)
        if len(searches) == 3:
            stage._stop.set()
        return search(*given, **{**named, "watch": lambda *_: None})

    monkeypatch.setattr("services.analyzer.match.stage.search", counted)
    monkeypatch.setattr("services.analyzer.match.null.search", counted)
    with pytest.raises(Leave):
        run(stage)
    assert len(searches) == 3
    last = max(stage.checkpoints.iterdir(), key=lambda path: int(path.name))
    searches[:] = [1] * 10
    output, resumed = run_stage(run, parameters, inputs, tmp_path / "second", resume=last)
    assert len(searches) == 11  # the fourth of four
    assert resumed == results
    for name in FILES:
        assert (output / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((7, 4), "child_dictionary has 7 features, but the child was encoded with 9"),
        ((9, 5), "do not read the same basis: width 4 against 5"),
    ],
)
def test_dictionaries_that_do_not_fit_are_refused(
    tmp_path: Path, shape: tuple[int, int], message: str
) -> None:
    codes = encode_artifact(codes_of(firing(np.random.default_rng(0), 300, 9, 0.2)), tmp_path / "c")
    given = {}
    for name, of in (("parent", (9, 4)), ("child", shape)):
        (tmp_path / name).mkdir()
        save_file({"W_dec": np.ones(of, np.float32)}, tmp_path / name / "sae_weights.safetensors")
        given[f"{name}_dictionary"] = (tmp_path / name, {})
    with pytest.raises(StageError, match=message):
        match_artifact(codes, codes, tmp_path / "match", inputs=given)


def test_cosines_are_those_of_the_decoder_directions() -> None:
    rng = np.random.default_rng(24)
    parent, child = rng.standard_normal((9, 4)), rng.standard_normal((7, 4))
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (parent, child)]
    table = unit[0] @ unit[1].T
    cosines = Cosines(*(side.astype(np.float32) for side in unit))
    best_F = np.array([0, 3, -1, 6, 2, 2, 5, 1, -1])
    of_parent, of_child = cosines.of_best(best_F, np.array([0, 7, 4, 1, -1, 6, 3]))
    assert np.isnan(of_parent[[2, 8]]).all()
    assert np.isnan(of_child[4])
    some = best_F >= 0
    np.testing.assert_allclose(
        of_parent[some], table[np.flatnonzero(some), best_F[some]], atol=1e-6
    )
    assert of_child[1] == pytest.approx(table[7, 1], abs=1e-6)
    alive_F, alive_G = np.arange(9) != 3, np.arange(7) != 2
    masked = np.where(alive_F[:, None] & alive_G, table, -2)
    closest = masked.argmax(axis=1)
    mutual = alive_F & (masked.argmax(axis=0)[closest] == np.arange(9))
    expected = np.where(mutual, closest, -1)
    assert cosines.mutually_highest(alive_F, alive_G).tolist() == expected.tolist()
