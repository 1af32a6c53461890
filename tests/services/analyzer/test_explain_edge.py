"""The stage `explain_edge` against a direct computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from services.analyzer import explain_edge as edge
from services.analyzer.explain import stage
from shared.stages.stage import StageError
from tests.support.explanations.world import (
    PARAMETERS,
    PERSIST,
    SEED,
    WIDTH,
    dense_child,
    dense_parent,
    explain_inputs,
    rows_of,
    tokens_of,
    world,
)
from tests.support.planted import Artifact, codes_of, encode_artifact
from tests.support.stages import run_stage

EDGE = {"method": "rule", "seed": SEED}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def explained(built: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run_stage(
        stage.run, PARAMETERS, explain_inputs(built), tmp_path_factory.mktemp("explain")
    )


@pytest.fixture(scope="module")
def crossed(
    built: dict[str, Artifact], explained: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    inputs = {name: built[name] for name in ("parent", "child", "match")}
    directory = tmp_path_factory.mktemp("edge")
    return run_stage(edge.run, EDGE, inputs | {"explain": explained}, directory)


def test_cross_scores_equal_a_direct_computation(
    crossed: Artifact, explained: Artifact, built: dict[str, Artifact]
) -> None:
    child = dense_child(dense_parent(tokens_of()))
    match = pq.read_table(built["match"][0] / "parent.parquet").to_pylist()
    simulations = rows_of(explained, "simulations")
    scores = {row["feature"]: row["score"] for row in rows_of(explained, "explanations")}
    rows = rows_of(crossed, "cross")
    assert [row["feature"] for row in rows] == list(range(WIDTH))
    for row in rows:
        edge_row = match[row["feature"]]
        name = "match" if edge_row["match"] >= 0 else "best"
        assert (row["status"], row["partner"]) == (edge_row["status"], edge_row[name])
        assert row["partner_r"] == edge_row[f"{name}_r"]
        assert row["score"] == scores[row["feature"]]
        own = [one for one in simulations if one["feature"] == row["feature"]]
        if own[0]["predicted"] is None or row["partner"] < 0:
            assert row["cross"] is None
            continue
        true = [child[one["start"] :][:16, row["partner"]] for one in own]
        predicted = [one["predicted"] for one in own]
        if np.ptp(true) == 0 or np.ptp(predicted) == 0:
            assert row["cross"] is None
            continue
        expected = np.corrcoef(np.ravel(true), np.ravel(predicted))[0, 1]
        assert row["cross"] == pytest.approx(expected, abs=1e-6)


def test_a_parents_explanation_predicts_the_matched_feature_and_not_the_closest_one(
    crossed: Artifact,
) -> None:
    rows, results = rows_of(crossed, "cross"), crossed[1]
    assert [row["partner"] for row in rows[:PERSIST]] == [3, 2, 1, 0]
    assert all(row["cross"] > 0.95 for row in rows[:PERSIST])
    closest = rows[PERSIST]
    assert (closest["status"], closest["partner"]) == ("disappear", PERSIST)
    assert 0.3 < closest["cross"] < 0.9 < closest["score"]
    assert results["persist"]["features"] == PERSIST
    assert results["persist"]["cross"] > 0.95
    assert abs(results["persist"]["difference"]) < 0.05
    both = [r for r in rows[PERSIST:] if r["score"] is not None and r["cross"] is not None]
    disappear = results["disappear"]
    assert disappear["features"] == len(both)
    for name in ("score", "cross"):
        assert disappear[name] == pytest.approx(np.mean([row[name] for row in both]))
    assert disappear["difference"] == pytest.approx(disappear["score"] - disappear["cross"])
    low, high = disappear["difference_interval"]
    assert 0 < low < disappear["difference"] < high


def test_an_edge_of_one_kind_only_has_no_summary_of_the_other(
    built: dict[str, Artifact], tmp_path: Path
) -> None:
    few = run_stage(
        stage.run,
        {**PARAMETERS, "features": 1},
        explain_inputs(built) | {"track": built["track"]},
        tmp_path / "explain",
    )
    table = pq.read_table(few[0] / "explanations.parquet")
    pq.write_table(table.slice(0, 1), few[0] / "explanations.parquet")
    inputs = {name: built[name] for name in ("parent", "child", "match")}
    _, results = run_stage(edge.run, EDGE, inputs | {"explain": few}, tmp_path / "edge")
    assert results["persist"]["features"] == 1
    assert results["persist"]["interval"] is None
    assert results["disappear"] is None


def test_explanations_by_another_method_and_codes_of_another_stream_are_refused(
    built: dict[str, Artifact], explained: Artifact, tmp_path: Path
) -> None:
    inputs = {name: built[name] for name in ("parent", "child", "match")} | {"explain": explained}
    with pytest.raises(StageError, match="the parent's explanations are by rule"):
        run_stage(edge.run, {**EDGE, "method": "language_model"}, inputs, tmp_path / "a")
    short = encode_artifact(codes_of(dense_child(dense_parent(tokens_of()))[:64]), tmp_path / "c")
    with pytest.raises(StageError, match="the child's 64"):
        run_stage(edge.run, EDGE, inputs | {"child": short}, tmp_path / "b")
    swapped = inputs | {"parent": built["child"]}
    with pytest.raises(StageError, match="the match has 12 features"):
        run_stage(edge.run, EDGE, swapped, tmp_path / "d")
