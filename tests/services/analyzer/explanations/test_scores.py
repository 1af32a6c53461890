"""Scores of explanations against numpy, and the choice of features."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from services.analyzer.explanations.chosen import STATUSES, choose, statuses
from services.analyzer.explanations.scores import (
    balanced_accuracies,
    interval_of,
    mean_of,
    simulation_scores,
)
from services.analyzer.track.chains import universal_chains
from services.analyzer.track.fates import Kin, fate_table
from shared.stages.stage import Input, StageError
from tests.support.explanations import track_artifact


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e4]))
@settings(max_examples=40, deadline=None)
def test_simulation_scores_equal_numpy_feature_by_feature(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    bounds = np.cumsum([0, *rng.integers(1, 6, 7)])
    true = (rng.exponential(1, (bounds[-1], 9)) * (rng.random((bounds[-1], 9)) < 0.3)).astype("f4")
    predicted = (scale * (true * rng.random() + rng.random(true.shape) + 3)).astype(np.float32)
    found = simulation_scores(true, predicted, bounds)
    for number, (a, b) in enumerate(pairwise(bounds)):
        if true[a:b].any():
            expected = np.corrcoef(true[a:b].ravel().astype(float), predicted[a:b].ravel())[0, 1]
            assert found[number] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(found[number])


def test_a_constant_side_an_absent_prediction_and_no_windows_have_no_score() -> None:
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    constant = np.full((2, 4), 0.1, np.float32)
    assert np.isnan(simulation_scores(constant, values, np.array([0, 2]))).all()
    assert np.isnan(simulation_scores(values, constant, np.array([0, 2]))).all()
    absent = values.copy()
    absent[0] = np.nan
    # The first feature's prediction is absent, the second's right; the third has no windows.
    found = simulation_scores(values, absent, np.array([0, 1, 2, 2]))
    assert np.isnan(found[[0, 2]]).all()
    assert found[1] == pytest.approx(1)


def test_silent_tokens_count_in_the_simulation_score() -> None:
    # Right where it fires, wrong where it does not: over the firing tokens alone r would be 1.
    true = np.array([[1, 2, 3, 0, 0, 0]], np.float32)
    predicted = np.array([[1, 2, 3, 3, 3, 3]], np.float32)
    assert simulation_scores(true, predicted, np.array([0, 1]))[0] < 0.1


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_balanced_accuracy_equals_the_mean_of_both_recalls(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bounds = np.cumsum([0, *rng.integers(0, 9, 6)])
    truth, answer, asked = (rng.random(bounds[-1]) < share for share in (0.4, 0.5, 0.8))
    found = balanced_accuracies(truth, answer, bounds, asked)
    for number, (a, b) in enumerate(pairwise(bounds)):
        t, y = truth[a:b][asked[a:b]], answer[a:b][asked[a:b]]
        if t.any() and not t.all():
            expected = (y[t].mean() + (~y[~t]).mean()) / 2
            assert found[number] == pytest.approx(expected)
        else:
            assert np.isnan(found[number])


def test_an_answer_that_does_not_look_has_a_balanced_accuracy_of_a_half() -> None:
    truth = np.array([True] + [False] * 19)
    for answer in (np.zeros(20, bool), np.ones(20, bool)):
        assert balanced_accuracies(truth, answer, np.array([0, 20]))[0] == 0.5


def test_means_and_intervals_leave_undefined_scores_out() -> None:
    assert mean_of(np.array([0.5, np.nan, 1.0])) == 0.75
    assert mean_of(np.array([np.nan])) is None
    assert interval_of(np.array([0.5, np.nan]), 1) is None


def test_the_interval_of_a_mean_agrees_with_scipy() -> None:
    scores = np.random.default_rng(0).beta(2, 3, 400)
    low, high = interval_of(scores, 7) or (0, 0)
    expected = stats.bootstrap(
        (scores,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.1 * width)
    assert high == pytest.approx(expected.high, abs=0.1 * width)
    assert interval_of(scores, 7) == [low, high]
    assert interval_of(scores, 8) != [low, high]


def test_the_interval_does_not_depend_on_how_the_replicates_are_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = np.random.default_rng(0).random(50)
    whole = interval_of(scores, 3)
    monkeypatch.setattr("services.analyzer.explanations.scores.BLOCK", 350)
    assert interval_of(scores, 3) == whole


# --------------------------------------------------------------------------- the choice


def track_of(directory: Path, fates: dict[int, list[list[str]]]) -> Input:
    return Input("0", *track_artifact(directory, fates))


def match_of(directory: Path, match: list[int]) -> Input:
    directory.mkdir(parents=True)
    pq.write_table(pa.table({"match": pa.array(match, pa.int32())}), directory / "parent.parquet")
    return Input("1", directory, {})


def test_statuses_follow_the_fates_in_their_order(tmp_path: Path) -> None:
    of_model = [
        ["universal", "lost/3"],
        ["new", "lost/3"],
        ["new", "regained/3"],
        ["inherited/0"],
        [],
    ]
    track = track_of(tmp_path / "track", {0: [["lost/3"]], 1: of_model})
    found = statuses(track, 1, 5)
    assert found.tolist() == [
        "universal", "disappearing", "emerging", "persisting", "persisting",
    ]  # fmt: skip


def test_a_feature_that_an_edge_to_a_child_loses_is_disappearing(tmp_path: Path) -> None:
    track = track_of(tmp_path / "track", {0: [["universal"], [], [], []]})
    matches = [match_of(tmp_path / "a", [5, 1, -1, 2]), match_of(tmp_path / "b", [4, 3, 0, -1])]
    assert statuses(track, 0, 4, matches).tolist() == [
        "universal", "persisting", "disappearing", "disappearing",
    ]  # fmt: skip
    with pytest.raises(StageError, match="match/0 has 4 features of the parent"):
        statuses(track_of(tmp_path / "other", {0: [[]]}), 0, 1, matches[:1])


def test_statuses_read_what_a_track_stage_writes(tmp_path: Path) -> None:
    # A chain of three models of 9000 features: more rows than a row group of the file has.
    rng = np.random.default_rng(0)
    width = 9000
    matches = []
    for _ in range(2):
        match = rng.permutation(width)
        match[rng.random(width) < 0.3] = -1
        matches.append(match)
    kin = Kin(
        alive=[np.ones(width, bool)] * 3,
        edges=[(0, 1), (1, 2)],
        matches=matches,
        chains_UM=universal_chains([width] * 3, [(0, 1), (1, 2)], matches),
        ancestors=[(0, 2)],
        direct=[np.full(width, -1)],
    )
    pq.write_table(fate_table(kin), tmp_path / "chains.parquet", row_group_size=4096)
    track = Input("0", tmp_path, {})
    universal = [np.isin(np.arange(width), kin.chains_UM[:, model]) for model in range(3)]
    # Without a direct match, what no path leads to the last model is lost.
    assert ((statuses(track, 0, width) == "universal") == universal[0]).all()
    assert ((statuses(track, 0, width) == "disappearing") == ~universal[0]).all()
    for model in (1, 2):
        found = np.isin(np.arange(width), matches[model - 1])
        expected = np.select([universal[model], ~found], ["universal", "emerging"], "persisting")
        assert (statuses(track, model, width) == expected).all()


def test_a_model_that_the_track_does_not_have_is_refused(tmp_path: Path) -> None:
    track = track_of(tmp_path / "track", {0: [[]]})
    with pytest.raises(StageError, match="the track has 0 features of model 1"):
        statuses(track, 1, 1)


def drawn(status: Any, firings: Any, count: int | None, seed: int = 3) -> Any:
    return choose(np.asarray(status), np.asarray(firings), 10, count, seed).tolist()


def test_as_many_are_chosen_of_each_status_and_all_where_there_are_fewer() -> None:
    rng = np.random.default_rng(0)
    status = np.repeat(STATUSES, [300, 200, 4, 100])
    firings = rng.integers(10, 9000, len(status))
    chosen = drawn(status, firings, 20)
    assert chosen == sorted(set(chosen))
    assert [int((status[chosen] == name).sum()) for name in STATUSES] == [20, 20, 4, 20]


def test_the_chosen_are_spread_over_the_densities() -> None:
    firings = np.random.default_rng(1).permutation(np.arange(10, 1010))
    chosen = drawn(np.full(1000, "universal"), firings, 50)
    # One in each stratum of 20 features.
    assert sorted((firings[chosen] - 10) // 20) == list(range(50))


def test_rare_features_are_never_chosen_and_no_number_means_all_live_ones() -> None:
    firings = np.array([0, 9, 10, 5000])
    assert drawn(["persisting"] * 4, firings, None) == [2, 3]
    assert drawn(["persisting"] * 4, firings, 9) == [2, 3]
    assert choose(np.array(["universal"] * 2), np.array([0, 1]), 0, None, 0).tolist() == [1]


def test_the_choice_depends_on_the_seed_alone() -> None:
    status, firings = np.full(500, "emerging"), np.arange(10, 510)
    assert drawn(status, firings, 10) == drawn(status, firings, 10)
    assert drawn(status, firings, 10) != drawn(status, firings, 10, seed=4)
