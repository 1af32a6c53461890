"""Chains of features through a family, and the features that the figures show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analyzer.contexts import stage as contexts
from services.analyzer.track import stage as track
from services.analyzer.track.chains import models_reached, universal_chains
from shared.stages.stage import Leave, StageError
from tests.support.planted import (
    Artifact,
    codes_of,
    encode_artifact,
    firing,
    match_artifact,
    tokenizer_artifact,
    tokens_artifact,
)
from tests.support.reading import reading_artifacts
from tests.support.stages import make_stage, run_stage

EDGES = [(0, 1), (0, 2), (1, 3), (2, 3)]  # base -> lua, base -> stories -> both -> merge
CONTEXT, BLOCKS = 16, 250
TOKENS = CONTEXT * BLOCKS
STREAM = {"tokens": 10**6, "context": CONTEXT}
WORDS = ["<end>", " the", " try", " =", *[f" w{i}" for i in range(36)]]
TRY, EQUALS = 2, 3

# ------------------------------------------------------------------------------- chains


def array(*numbers: int) -> Any:
    return np.array(numbers)


def test_a_universal_feature_is_matched_on_every_edge() -> None:
    matches = [array(1, 0, 2), array(0, -1, 2), array(2, 1, 0), array(1, 2, 0)]
    # 0 -> 1 -> 1 and 0 -> 0 -> 1; 1 is lost in model 2; 2 -> 2 -> 0 and 2 -> 2 -> 0.
    chains = universal_chains([3, 3, 3, 3], EDGES, matches)
    assert chains.tolist() == [[0, 1, 0, 1], [2, 2, 2, 0]]


def test_parents_that_disagree_at_a_merge_make_no_universal_feature() -> None:
    matches = [array(0, 1), array(0, 1), array(0, 1), array(1, 0)]
    assert universal_chains([2, 2, 2, 2], EDGES, matches).shape == (0, 4)


def test_two_roots_are_reached_against_the_direction_of_an_edge() -> None:
    # Models 0 and 1 are unrelated parents of 2.
    matches = [array(1, 0, -1), array(-1, 0, 1)]
    chains = universal_chains([3, 3, 2], [(0, 2), (1, 2)], matches)
    assert chains.tolist() == [[0, 2, 1], [1, 1, 0]]


def test_families_in_parts_or_without_edges_have_no_universal_feature() -> None:
    assert universal_chains([2, 2, 2], [(0, 1)], [array(0, 1)]).shape == (0, 3)
    assert universal_chains([2], [], []).shape == (0, 1)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_chains_equal_a_search_over_all_combinations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    widths = rng.integers(1, 5, 4)
    matches = []
    for parent, child in EDGES:
        match = np.full(widths[parent], -1)
        count = min(widths[parent], widths[child])
        match[rng.permutation(widths[parent])[:count]] = rng.permutation(widths[child])[:count]
        match[rng.random(widths[parent]) < 0.1] = -1
        matches.append(match)
    expected = [
        list(chain)
        for chain in np.ndindex(*widths)
        if all(m[chain[p]] == chain[c] for (p, c), m in zip(EDGES, matches, strict=True))
    ]
    assert universal_chains(widths.tolist(), EDGES, matches).tolist() == expected


def test_a_feature_reaches_the_descendants_to_which_matches_lead() -> None:
    matches = [array(0, -1), array(-1, 1), array(-1, 0), array(0, 1)]
    assert models_reached(EDGES, matches, 0, 0) == [1]
    assert models_reached(EDGES, matches, 0, 1) == [2, 3]
    assert models_reached(EDGES, matches, 3, 0) == []


# ---------------------------------------------------------------------- the whole stage


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Tokens of two corpora, `=` labelled in both and `try` in the first."""
    root = tmp_path_factory.mktemp("shared")
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, len(WORDS), (BLOCKS, CONTEXT))
    first, second = tokens[:150], tokens[150:]
    second[second == TRY] = 0
    return {
        "tokens/0": tokens_artifact(
            root / "first", first, {"exception": first == TRY, "assignment": first == EQUALS}
        ),
        "tokens/1": tokens_artifact(root / "second", second, {"assignment": second == EQUALS}),
        "tokenizer": tokenizer_artifact(root / "tokenizer", WORDS),
    }


def planted(shared: dict[str, Artifact], detectors: bool = True) -> list[Any]:
    """Four models. Columns of the base: 12 features that every model has, `=` (everywhere), `try`
    (only in the base and, with most firings lost, in lua), 5 that stories loses. The children hold
    the same features in other orders."""
    rng = np.random.default_rng(1)
    stream = np.concatenate(
        [np.load(shared[f"tokens/{n}"][0] / "validation.npy").reshape(-1) for n in (0, 1)]
    )
    common, lost = firing(rng, TOKENS, 12, 0.015), firing(rng, TOKENS, 5, 0.015)
    strength = (1 + rng.random((TOKENS, 2))).astype(np.float32)
    tells = strength * (stream[:, None] == [EQUALS, TRY])
    if not detectors:
        tells = firing(rng, TOKENS, 2, 0.015)
    weak_try = tells[:, 1:] * (rng.random((TOKENS, 1)) < 0.3)
    own = [firing(rng, TOKENS, 4, 0.015) for _ in range(4)]
    noisy = [common * rng.lognormal(0, 0.1, common.shape) for _ in range(4)]
    equals = tells[:, :1]
    models = [
        [noisy[0], equals, tells[:, 1:], lost, own[0]],
        [own[1], lost, weak_try, equals, noisy[1]],
        [equals, noisy[2], own[2]],
        [noisy[3], own[3], equals, lost],
    ]
    return [np.concatenate(parts, axis=1).astype(np.float32) for parts in models]


def family(shared: dict[str, Artifact], dense: list[Any], root: Path) -> dict[str, Artifact]:
    """The inputs of a track stage: codes, contexts and matches, as their stages make them."""
    inputs = dict(shared)
    for number, model in enumerate(dense):
        codes = encode_artifact(codes_of(model), root / f"codes-{number}")
        inputs[f"codes/{number}"] = codes
        reading = reading_artifacts(root / f"model-{number}", model.shape[1])
        inputs[f"contexts/{number}"] = run_stage(
            contexts.run,
            {**STREAM, "layer": 0},
            {**shared, **reading, "codes": codes},
            root / f"contexts-{number}",
        )
    for number, (parent, child) in enumerate(EDGES):
        inputs[f"match/{number}"] = match_artifact(
            inputs[f"codes/{parent}"], inputs[f"codes/{child}"], root / f"match-{number}"
        )
    return inputs


def parameters(**changes: Any) -> dict[str, Any]:
    edges = [{"parent": parent, "child": child} for parent, child in EDGES]
    return {"edges": edges, "threshold": 0.8, "min_firings": 5, **STREAM, **changes}


@pytest.fixture(scope="module")
def inputs(
    shared: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Artifact]:
    return family(shared, planted(shared), tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="module")
def tracked(
    inputs: dict[str, Artifact], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    output, results = run_stage(track.run, parameters(), inputs, tmp_path_factory.mktemp("track"))
    return output, results, json.loads((output / "figures.json").read_text())


def correlation(dense: list[Any], chain: list[int]) -> Any:
    return np.corrcoef([model[:, feature] for model, feature in zip(dense, chain, strict=True)])


def test_universal_features_are_the_planted_ones(tracked: Any, shared: dict[str, Artifact]) -> None:
    output, results, _ = tracked
    rows = pq.read_table(output / "universal.parquet").to_pylist()
    # 12 common features and the `=` detector; the lost ones are missing in stories.
    expected = [[n, 4 + 5 + 1 + 1 + n, 1 + n, n] for n in range(12)] + [[12, 10, 0, 16]]
    assert [[row[f"feature_{n}"] for n in range(4)] for row in rows] == expected
    assert results["universal"] == 13
    dense = planted(shared)
    for row, chain in zip(rows, expected, strict=True):
        r = correlation(dense, chain)
        assert [row[f"r_{n}"] for n in range(4)] == pytest.approx(r[0].tolist(), abs=1e-6)
        weakest = min(r[edge] for edge in EDGES)
        assert row["weakest_r"] == pytest.approx(weakest, abs=1e-6)


def test_the_universal_example_is_the_assignment_feature(
    tracked: Any, shared: dict[str, Artifact]
) -> None:
    example = tracked[2]["universal_example"]
    assert (example["label"], example["features"]) == ("assignment", [12, 10, 0, 16])
    assert "F1 1.00" in example["reason"]
    np.testing.assert_allclose(example["correlations"], 1, atol=1e-6)
    assert len(example["contexts"]) == 6
    assert {context["corpus"] for context in example["contexts"]} == {0, 1}
    for context in example["contexts"]:
        is_equals = [token == " =" for token in context["tokens"]]
        for activations in context["activations"]:
            assert [value > 0 for value in activations] == is_equals


def test_the_failing_example_is_the_exception_feature_with_its_closest_match(
    tracked: Any, shared: dict[str, Artifact]
) -> None:
    example = tracked[2]["failing_example"]
    assert (example["label"], example["parent"], example["feature"]) == ("exception", 0, 13)
    dense = planted(shared)
    r = [np.nanmax(np.corrcoef(dense[0][:, 13], model.T)[0, 1:]) for model in (dense[1], dense[2])]
    assert example["child"] == 1 + int(np.argmin(r))
    assert example["r"] == pytest.approx(min(r), abs=1e-6)
    assert example["r"] < 0.8
    child = dense[example["child"]]
    found = np.corrcoef(dense[0][:, 13], child[:, example["closest"]])[0, 1]
    assert example["r"] == pytest.approx(found, abs=1e-6)
    assert len(example["contexts"]) == 6
    for context in example["contexts"]:
        assert max(context["parent"]) > 0
        tries = [token == " try" for token in context["tokens"]]
        assert [value > 0 for value in context["parent"]] == tries
        assert len(context["child"]) == len(context["tokens"])


def test_labels_name_the_best_feature_of_each_model_and_where_it_persists(tracked: Any) -> None:
    _, results, figures = tracked
    assert results["labels"] == figures["labels"]
    found = {(row["label"], row["model"]): row for row in figures["labels"]}
    places = [found["assignment", model]["feature"] for model in range(4)]
    assert places == [12, 10, 0, 16]
    reached = [found["assignment", model]["persists_in"] for model in range(4)]
    assert reached == [[1, 2, 3], [3], [3], []]
    assert found["exception", 0]["feature"] == 13
    assert found["exception", 0]["persists_in"] == []
    assert found["exception", 1]["recall"] < 0.6


def test_chains_tell_what_becomes_of_each_feature(
    tracked: Any, inputs: dict[str, Artifact]
) -> None:
    rows = pq.read_table(tracked[0] / "chains.parquet").to_pylist()
    fates = {(row["model"], row["feature"]): row["fate"] for row in rows}
    widths = [inputs[f"codes/{number}"][1]["features"] for number in range(4)]
    assert list(fates) == [(m, f) for m, width in enumerate(widths) for f in range(width)]
    # The five features that stories loses reach the merge through lua alone.
    assert [fates[3, 17 + n] for n in range(5)] == [["inherited/1"]] * 5
    assert fates[0, 0] == ["universal"]
    assert fates[3, 0] == ["universal", "inherited/both"]
    assert fates[3, 12] == ["new"]
    assert fates[0, 13] == []


def test_counts_say_where_a_merge_and_its_ancestors_have_their_features(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    pair = match_artifact(inputs["codes/0"], inputs["codes/3"], tmp_path / "pair")
    settings = parameters(ancestors=[{"parent": 0, "child": 3}])
    output, results = run_stage(
        track.run, settings, {**inputs, "ancestor/0": pair}, tmp_path / "track"
    )
    assert results["merges"] == [
        {"child": 3, "parents": [1, 2], "both": 13, "only": [5, 0], "new": 4, "alive": 22}
    ]
    # `try` and four of its own: lost. All that stories lacks came through lua.
    assert results["regained"] == [
        {
            "ancestor": 0, "descendant": 3, "persist_direct": 18, "persist_path": 18,
            "regained": 0, "lost": 5,
        }
    ]  # fmt: skip
    assert [row["alive"] for row in results["along"]] == [23, 23, 17, 22]
    assert [row["new"] for row in results["along"]] == [0, 5, 4, 4]
    assert [row["from_first"] for row in results["along"]] == [23, 18, 13, 18]
    lost = pq.read_table(output / "chains.parquet").to_pylist()[13]
    assert (lost["model"], lost["feature"], lost["fate"]) == (0, 13, ["lost/3"])


def test_a_feature_that_splits_or_merges_is_no_example_of_what_a_child_loses(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    changed = dict(inputs)
    for number, status in ((0, "split"), (1, "merge")):
        directory = tmp_path / f"match-{number}"
        directory.mkdir()
        table = pq.read_table(inputs[f"match/{number}"][0] / "parent.parquet")
        column = table["status"].to_pylist()
        column[13] = status
        place = table.column_names.index("status")
        pq.write_table(table.set_column(place, "status", [column]), directory / "parent.parquet")
        changed[f"match/{number}"] = (directory, inputs[f"match/{number}"][1])
    output, _ = run_stage(track.run, parameters(), changed, tmp_path / "track")
    example = json.loads((output / "figures.json").read_text())["failing_example"]
    assert example["feature"] != 13
    assert example["label"] != "exception"


def test_the_same_inputs_give_the_same_bytes(
    inputs: dict[str, Artifact], tracked: Any, tmp_path: Path
) -> None:
    again, _ = run_stage(track.run, parameters(), inputs, tmp_path)
    for name in ("figures.json", "universal.parquet", "chains.parquet"):
        assert (again / name).read_bytes() == (tracked[0] / name).read_bytes()


def test_without_a_labelled_feature_the_strongest_matches_are_shown(
    shared: dict[str, Artifact], tmp_path: Path
) -> None:
    inputs = family(shared, planted(shared, detectors=False), tmp_path / "family")
    output, _ = run_stage(track.run, parameters(), inputs, tmp_path / "track")
    figures = json.loads((output / "figures.json").read_text())
    universal, failing = figures["universal_example"], figures["failing_example"]
    rows = pq.read_table(output / "universal.parquet").to_pylist()
    strongest = max(rows, key=lambda row: row["weakest_r"])
    assert universal["label"] is None
    assert universal["features"] == [strongest[f"feature_{n}"] for n in range(4)]
    assert "on different tokens" in universal["reason"]
    parent = pq.read_table(
        inputs[f"match/{failing['child'] - 1}"][0] / "parent.parquet"
    ).to_pylist()[failing["feature"]]
    assert failing["label"] is None
    assert parent["status"] == "disappear"
    assert (parent["best"], round(parent["best_r"], 6)) == (failing["closest"], failing["r"])


def test_a_family_that_shares_nothing_shows_nothing(
    shared: dict[str, Artifact], tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    silent = [np.zeros((TOKENS, 3), np.float32)] * 3
    inputs = family(shared, [firing(rng, TOKENS, 3, 0.01), *silent], tmp_path / "family")
    output, results = run_stage(track.run, parameters(), inputs, tmp_path / "track")
    figures = json.loads((output / "figures.json").read_text())
    assert results["universal"] == 0
    assert (figures["universal_example"], figures["failing_example"]) == (None, None)
    assert pq.read_table(output / "universal.parquet").column_names == [
        *[f"{name}_{n}" for n in range(4) for name in ("feature", "r")], "weakest_r"
    ]  # fmt: skip


def test_an_edge_without_its_match_is_refused(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    fewer = {name: source for name, source in inputs.items() if name != "match/3"}
    with pytest.raises(StageError, match="4 edges, but 3 match inputs"):
        run_stage(track.run, parameters(), fewer, tmp_path)


def test_inputs_that_do_not_fit_the_parameters_are_refused(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    pair = [{"parent": 0, "child": 3}]
    with pytest.raises(StageError, match="1 ancestors, but 0 ancestor inputs"):
        run_stage(track.run, parameters(ancestors=pair), inputs, tmp_path / "a")
    backwards = [*parameters()["edges"][:3], {"parent": 3, "child": 2}]
    with pytest.raises(StageError, match=r"edges/3 leads from model 3 to 2: .* 0 to 3, ancestors"):
        run_stage(track.run, parameters(edges=backwards), inputs, tmp_path / "b")
    swapped = {**inputs, "match/2": inputs["match/3"]}
    with pytest.raises(StageError, match="match/2 has 17 features of model 1, its codes have 23"):
        run_stage(track.run, parameters(), swapped, tmp_path / "c")


def test_a_stage_that_is_asked_to_stop_leaves(inputs: dict[str, Artifact], tmp_path: Path) -> None:
    stage = make_stage(parameters(), inputs, tmp_path)
    stage._stop.set()
    with pytest.raises(Leave):
        track.run(stage)
