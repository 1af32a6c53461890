"""The status of each feature, and the choice of those to explain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.analyzer.explanations.selection import PRECEDENCE, choose, statuses
from services.analyzer.track.chains import universal_chains
from services.analyzer.track.fates import Kin, fate_table
from shared.lineage.explanations.feature_status import FEATURE_STATUSES
from shared.stages.stage import Input, StageError
from tests.support.explanations.world import track_artifact


def test_every_status_has_its_place_in_the_order_of_precedence() -> None:
    assert sorted(PRECEDENCE) == sorted(FEATURE_STATUSES)


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
    status = np.repeat(PRECEDENCE, [300, 200, 4, 100])
    firings = rng.integers(10, 9000, len(status))
    chosen = drawn(status, firings, 20)
    assert chosen == sorted(set(chosen))
    assert [int((status[chosen] == name).sum()) for name in PRECEDENCE] == [20, 20, 4, 20]


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
