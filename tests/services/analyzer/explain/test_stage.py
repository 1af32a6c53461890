"""The stage `explain` by rule, on planted features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.analyzer.explain import outcome, stage
from services.analyzer.explain.rules import Rule
from shared.data.token_stream import HeldOut
from shared.stages.stage import Leave, StageError
from tests.support.explanations.world import (
    COMMON,
    CONTEXT,
    EVEN_ONLY,
    NOISE,
    ODD_ONLY,
    PARAMETERS,
    PERSIST,
    PLANTED,
    TOKENS,
    WIDTH,
    WORDS,
    dense_parent,
    explain_inputs,
    rows_of,
    tokens_of,
    world,
)
from tests.support.planted import Artifact, codes_of, encode_artifact
from tests.support.stages import make_stage, run_stage


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def explained(built: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run_stage(
        stage.run, PARAMETERS, explain_inputs(built), tmp_path_factory.mktemp("explain")
    )


def test_planted_token_sets_are_explained_and_predicted(explained: Artifact) -> None:
    rows = rows_of(explained, "explanations")
    assert [row["feature"] for row in rows] == list(range(WIDTH))
    for row, tokens in zip(rows, PLANTED, strict=False):
        assert row["score"] >= 0.95, row
        assert row["fuzzing"] == 1, row
        # ` the` and ` a` are in all windows: there is none in which the feature must not be found.
        assert row["detection"] == (None if tokens == COMMON else 1), row
        assert row["failure"] is None
        for token in tokens:
            assert WORDS[token].strip() in row["explanation"] or token == 5


def test_features_that_fire_by_chance_are_not_explained_well(explained: Artifact) -> None:
    for row in rows_of(explained, "explanations")[len(PLANTED) : len(PLANTED) + NOISE]:
        assert (row["score"] or 0) < 0.2, row
        assert (row["score"] is None) == (row["failure"] is not None)


def test_with_shuffled_labels_the_same_rules_score_about_zero(
    built: dict[str, Artifact], tmp_path: Path
) -> None:
    # The even contexts, which rules are learnt from, stay; in the odd ones the activations are
    # those of other tokens.
    dense = dense_parent(tokens_of()).reshape(-1, CONTEXT, WIDTH)
    odd = dense[1::2].reshape(-1, WIDTH)
    dense[1::2] = np.random.default_rng(3).permutation(odd).reshape(-1, CONTEXT, WIDTH)
    codes = encode_artifact(codes_of(dense.reshape(-1, WIDTH)), tmp_path / "codes")
    shuffled = run_stage(
        stage.run, PARAMETERS, explain_inputs(built) | {"codes": codes}, tmp_path / "explain"
    )
    rows = rows_of(shuffled, "explanations")[: len(PLANTED)]
    assert all(row["rule"] is not None for row in rows)
    scores = np.array([row["score"] for row in rows])
    assert np.abs(scores).max() < 0.25
    assert abs(scores.mean()) < 0.1
    assert abs(np.mean([row["detection"] for row in rows]) - 0.5) < 0.1
    assert abs(np.mean([row["fuzzing"] for row in rows]) - 0.5) < 0.1


def test_files_hold_what_their_description_says(explained: Artifact) -> None:
    dense = dense_parent(tokens_of())
    rows = rows_of(explained, "simulations")
    assert [row["feature"] for row in rows] == sorted(row["feature"] for row in rows)
    for row in rows:
        places = np.arange(row["start"], row["start"] + 16)
        assert (places // CONTEXT % 2 == 1).all()
        assert places[0] // CONTEXT == places[-1] // CONTEXT
        assert row["corpus"] == int(row["start"] >= TOKENS // 2)
        assert row["activations"] == dense[places, row["feature"]].tolist()
        assert not row["active"] or max(row["activations"]) > 0
    for feature in range(len(PLANTED)):
        own = [row for row in rows if row["feature"] == feature]
        assert [row["window"] for row in own] == list(range(20))
        assert [row["active"] for row in own] == [True] * 10 + [False] * 10
    explanations = rows_of(explained, "explanations")
    firings = (dense > 0).sum(axis=0)
    assert [row["density"] for row in explanations] == pytest.approx(firings / TOKENS)


def test_scores_equal_numpy_over_the_stored_simulations(explained: Artifact) -> None:
    simulations = rows_of(explained, "simulations")
    for row in rows_of(explained, "explanations"):
        own = [one for one in simulations if one["feature"] == row["feature"]]
        if row["score"] is None:
            continue
        pair = [np.concatenate([one[name] for one in own]) for name in ("activations", "predicted")]
        assert row["score"] == pytest.approx(np.corrcoef(pair)[0, 1], abs=1e-9)


def test_a_stored_rule_gives_the_stored_simulation_again(
    explained: Artifact, built: dict[str, Artifact]
) -> None:
    stream = HeldOut(tokens_of(), np.repeat([0, 1], TOKENS // CONTEXT // 2))
    simulations = rows_of(explained, "simulations")
    for row in rows_of(explained, "explanations")[: len(PLANTED)]:
        own = [one for one in simulations if one["feature"] == row["feature"]]
        places = np.array([one["start"] for one in own])[:, None] + np.arange(16)
        again = Rule.from_json(row["rule"]).simulate(stream, WORDS, places)
        assert again.tolist() == [one["predicted"] for one in own]


def test_a_feature_of_one_half_of_the_contexts_says_why_it_has_no_score(
    explained: Artifact,
) -> None:
    rows = rows_of(explained, "explanations")
    assert rows[EVEN_ONLY]["explanation"] is not None
    assert rows[EVEN_ONLY]["score"] is None
    assert rows[EVEN_ONLY]["failure"] == outcome.NO_WINDOWS
    assert rows[ODD_ONLY]["explanation"] is None
    assert rows[ODD_ONLY]["failure"] == outcome.NO_EXAMPLES
    active = {row["feature"] for row in rows_of(explained, "simulations") if row["active"]}
    assert active == set(range(WIDTH)) - {EVEN_ONLY}


def test_results_are_the_means_of_the_rows(explained: Artifact) -> None:
    results, rows = explained[1], rows_of(explained, "explanations")
    scores = [row["score"] for row in rows if row["score"] is not None]
    assert results["score"] == pytest.approx(np.mean(scores))
    assert results["interval"][0] < results["score"] < results["interval"][1]
    assert (results["features"], results["method"], results["label"]) == (WIDTH, "rule", None)
    assert results["explained"] == sum(row["explanation"] is not None for row in rows)
    assert results["failed"] == sum(row["failure"] is not None for row in rows)
    assert sum(results["failures"].values()) == results["failed"]
    assert (results["requests"], results["tokens"], results["covered"]) == (0, 0, 1)
    universal = results["statuses"]["universal"]
    assert universal["features"] == universal["explained"] == PERSIST
    assert universal["score"] == pytest.approx(np.mean([row["score"] for row in rows[:PERSIST]]))
    # What the only edge loses, no fate says: the match does.
    assert results["statuses"]["disappearing"]["features"] == WIDTH - PERSIST
    assert results["statuses"]["emerging"]["score"] is None


def test_the_same_stage_twice_gives_the_same_bytes(
    explained: Artifact, built: dict[str, Artifact], tmp_path: Path
) -> None:
    again = run_stage(stage.run, PARAMETERS, explain_inputs(built), tmp_path)
    assert again[1] == explained[1]
    for name in ("explanations.parquet", "simulations.parquet"):
        assert (again[0] / name).read_bytes() == (explained[0] / name).read_bytes()


def test_fewer_features_get_the_same_rows(
    explained: Artifact, built: dict[str, Artifact], tmp_path: Path
) -> None:
    few = run_stage(stage.run, {**PARAMETERS, "features": 2}, explain_inputs(built), tmp_path)
    every = {row["feature"]: row for row in rows_of(explained, "explanations")}
    rows = rows_of(few, "explanations")
    assert [row["status"] for row in rows].count("universal") == 2
    assert [row["status"] for row in rows].count("disappearing") == 2
    assert all(row == every[row["feature"]] for row in rows)


def test_a_model_without_live_features_has_an_empty_artifact(
    built: dict[str, Artifact], tmp_path: Path
) -> None:
    parameters = {**PARAMETERS, "min_firings": 10**6}
    empty = run_stage(stage.run, parameters, explain_inputs(built), tmp_path)
    assert rows_of(empty, "explanations") == rows_of(empty, "simulations") == []
    assert (empty[1]["features"], empty[1]["score"], empty[1]["covered"]) == (0, None, 1)


def test_codes_of_another_stream_are_refused(built: dict[str, Artifact], tmp_path: Path) -> None:
    with pytest.raises(StageError, match="the stream of these corpora has 3840"):
        run_stage(stage.run, {**PARAMETERS, "tokens": 3840}, explain_inputs(built), tmp_path)


def test_the_stage_leaves_when_it_is_asked_to(built: dict[str, Artifact], tmp_path: Path) -> None:
    asked = make_stage(PARAMETERS, explain_inputs(built), tmp_path)
    asked._stop.set()
    with pytest.raises(Leave):
        stage.run(asked)
