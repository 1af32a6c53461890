"""Explanations in results.json, the tables and figure 6, on files as the stages write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.analyzer.report.figures import figure6_explanations
from services.analyzer.report.inputs.explanations import spread
from services.analyzer.report.page.explanations import ROWS, explained_rows
from shared.lineage.explanations.artifact import COLUMNS
from shared.lineage.explanations.feature_status import FEATURE_STATUSES
from shared.lineage.explanations.shown import harmless, name_corpora
from tests.services.analyzer.report.results.test_results import results_of
from tests.support.report.inputs import Family, Role, build

BOTH = ("rule", "language_model")
LISTED = 10  # of each status, as the spec of the family says
Inputs = dict[str, Role]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Inputs]:
    parameters, inputs = build(tmp_path_factory.mktemp("both"), Family(explain=BOTH))
    return results_of(parameters, inputs), inputs


def stored(inputs: Inputs, method: str, model: str = "base") -> list[dict[str, Any]]:
    """The rows that an explain stage wrote."""
    path = inputs[f"explain/main/{method}/{model}"][0] / "explanations.parquet"
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def test_a_spec_without_explanations_has_none(tmp_path: Path) -> None:
    results = results_of(*build(tmp_path))
    assert results["explanations"] == {}
    assert results["explanation_scores"] == results["explained_edges"] == []


def test_every_explanation_of_a_language_model_is_listed_by_model(
    made: tuple[dict[str, Any], Inputs],
) -> None:
    results, inputs = made
    names = {"tracking", "method", *COLUMNS}
    assert list(results["explanations"]) == list(results["models"])
    for model, rows in results["explanations"].items():
        assert all(set(row) == names for row in rows)
        listed = [row for row in rows if row["method"] == "language_model"]
        wanted = stored(inputs, "language_model", model)
        assert [row["feature"] for row in listed] == [row["feature"] for row in wanted]
        assert [row["score"] for row in listed] == [row["score"] for row in wanted]
        assert any(row["failure"] for row in listed)


def test_rules_of_the_same_features_stand_beside_those_of_the_language_model(
    made: tuple[dict[str, Any], Inputs],
) -> None:
    rows = made[0]["explanations"]["base"]
    by = {method: [row["feature"] for row in rows if row["method"] == method] for method in BOTH}
    assert by["rule"] == by["language_model"]
    assert [row["method"] for row in rows[:2]] == ["rule", "language_model"]


def test_rules_alone_are_listed_from_the_best_to_the_worst_of_each_status(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path, Family(explain=("rule",)))
    rows = results_of(parameters, inputs)["explanations"]["base"]
    whole = stored(inputs, "rule")
    assert len(rows) < len(whole) / 3
    for status in FEATURE_STATUSES:
        scores = [row["score"] for row in whole if row["status"] == status]
        listed = [row["score"] for row in rows if row["status"] == status]
        assert len(listed) == min(LISTED, len(scores))
        assert max(one for one in listed if one is not None) == max(
            one for one in scores if one is not None
        )


def test_distributions_count_every_score_that_a_stage_wrote(
    made: tuple[dict[str, Any], Inputs],
) -> None:
    results, inputs = made
    for one in results["explanation_scores"]:
        known = [
            row["score"]
            for row in stored(inputs, one["method"], one["model"])
            if row["score"] is not None
        ]
        assert one["scored"] == sum(one["histogram"]["counts"]) == len(known)
        edges = np.array(one["histogram"]["edges"])
        assert one["histogram"]["counts"] == np.histogram(known, edges)[0].tolist()
        assert one["quartiles"] == np.quantile(known, (0.25, 0.5, 0.75)).tolist()
        reported = inputs[f"explain/main/{one['method']}/{one['model']}"][1]
        for name in ("score", "interval", "covered", "requests", "failures", "label"):
            assert one[name] == reported[name]


def test_a_language_model_is_held_beside_the_rules_on_the_same_features(
    made: tuple[dict[str, Any], Inputs],
) -> None:
    results, inputs = made
    compared = 0
    for one in results["explanation_scores"]:
        if one["method"] == "rule":
            assert one["beside_rules"] is None
            continue
        rules = {row["feature"]: row["score"] for row in stored(inputs, "rule", one["model"])}
        pairs = [
            (row["score"], rules[row["feature"]])
            for row in stored(inputs, "language_model", one["model"])
            if row["score"] is not None and rules.get(row["feature"]) is not None
        ]
        found = one["beside_rules"]
        own, other = np.mean(pairs, axis=0)
        assert found["features"] == len(pairs) > 1
        assert found["language_model"] == pytest.approx(own)
        assert found["rule"] == pytest.approx(other)
        assert found["difference"] == pytest.approx(own - other)
        low, high = found["interval"]
        assert low <= found["difference"] <= high
        compared += 1
    assert compared


def side(cross: float, low: float, high: float) -> dict[str, Any]:
    """One side of an edge: a mean cross-score, and how much is lost."""
    found = {"features": 9, "score": 0.6, "cross": cross, "interval": [cross - 0.1, cross + 0.1]}
    return {**found, "difference": (low + high) / 2, "difference_interval": [low, high]}


@pytest.mark.parametrize(
    ("persist", "disappear", "reading"),
    [
        (side(0.5, 0.05, 0.15), side(0.2, 0.3, 0.5), "apart"),
        (side(0.2, 0.3, 0.5), side(0.5, 0.05, 0.15), "reversed"),
        (side(0.5, 0.05, 0.35), side(0.2, 0.3, 0.5), "open"),
        (side(0.5, 0.05, 0.15), None, None),
        ({**side(0.5, 0.05, 0.15), "difference_interval": None}, side(0.2, 0.3, 0.5), None),
    ],
)
def test_an_edge_is_read_by_what_explanations_lose(
    tmp_path: Path, persist: Any, disappear: Any, reading: str | None
) -> None:
    parameters, inputs = build(tmp_path, Family(explain=("rule",)))
    role = "explained_edge/main/rule/base/lua"
    inputs[role] = (inputs[role][0], {"persist": persist, "disappear": disappear})
    edges = results_of(parameters, inputs)["explained_edges"]
    assert (edges[0]["parent"], edges[0]["child"], edges[0]["method"]) == ("base", "lua", "rule")
    assert edges[0]["persist"] == persist
    assert edges[0]["reading"] == reading
    assert len(edges) == 4


def test_every_tracking_and_method_has_its_own_entries(tmp_path: Path) -> None:
    family = Family(trackings=("main", "second"), explain=BOTH)
    results = results_of(*build(tmp_path, family))
    places = [(one["tracking"], one["method"]) for one in results["explanation_scores"]]
    assert places == [(t, m) for t in ("main", "second") for _ in range(4) for m in BOTH]
    assert {row["tracking"] for row in results["explanations"]["lua"]} == {"main", "second"}
    assert set(explained_rows(results)) == {"main", "second"}


def test_figures_of_single_features_carry_their_explanations(
    made: tuple[dict[str, Any], Inputs],
) -> None:
    results, inputs = made
    feature = results["labels"][0]["feature"]
    (wanted,) = [row for row in stored(inputs, "rule") if row["feature"] == feature]
    (named,) = [
        row for row in results["labels"][0]["about"]["explanations"] if row["method"] == "rule"
    ]
    assert named["explanation"] == wanted["explanation"]
    assert named["score"] == wanted["score"]
    json.dumps(results, allow_nan=False)


def test_a_model_without_any_score_has_no_figure(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path, Family(explain=("rule",)))
    for role, (path, values) in inputs.items():
        if role.startswith("explain/"):
            file = path / "explanations.parquet"
            table = pq.read_table(file)
            pq.write_table(table.slice(0, 0), file)
            values.update(score=None, interval=None, statuses={}, explained=0, features=0)
    results = results_of(parameters, inputs)
    assert [one["scored"] for one in results["explanation_scores"]] == [0] * 4
    assert [one["quartiles"] for one in results["explanation_scores"]] == [None] * 4
    assert figure6_explanations.FIGURE.parts(results) == {"main": []}


def test_the_page_takes_even_ranks_of_each_status(made: tuple[dict[str, Any], Inputs]) -> None:
    rows = explained_rows(made[0])["main"]["base"]
    for status in FEATURE_STATUSES:
        assert 1 <= sum(row["status"] == status for row in rows) <= ROWS
    assert all(set(row["by"]) == set(BOTH) for row in rows)


# -------------------------------------------------------------------------------- pieces


def test_ranks_are_spread_from_the_best_to_the_worst_and_those_without_a_score_come_last() -> None:
    scores = np.array([0.1, 0.9, np.nan, 0.5, 0.3, 0.7])
    statuses = ["universal"] * 6
    assert spread(statuses, scores, 3) == [1, 2, 3]  # ranks 0, 2 and 5 of .9 .7 .5 .3 .1 none
    assert spread(statuses, scores, 99) == list(range(6))
    assert spread(statuses, scores, 1) == [1]
    assert spread(["universal", "emerging"] * 3, scores, 1) == [1, 4]


def test_cells_that_a_spreadsheet_would_compute_get_an_apostrophe() -> None:
    assert [harmless(text) for text in ("=1+1", "+1", "-1", "@a", "\t=1", "a=1", "", None)] == [
        "'=1+1", "'+1", "'-1", "'@a", "'\t=1", "a=1", "", None
    ]  # fmt: skip


def test_corpora_of_a_rule_get_their_names_and_nothing_else_does() -> None:
    text = "the token `x`, in corpus #1 or corpus #0, not in corpus #7 or #1"
    named = "the token `x`, in corpus lua or corpus baby, not in corpus #7 or #1"
    assert name_corpora(text, ["baby", "lua"]) == named
    assert name_corpora(None, ["baby"]) is None


def test_rules_are_told_with_the_names_of_corpora_and_other_words_as_they_are(
    tmp_path: Path,
) -> None:
    parameters, inputs = build(tmp_path, Family(explain=BOTH))
    for method in BOTH:
        file = inputs[f"explain/main/{method}/base"][0] / "explanations.parquet"
        table = pq.read_table(file)
        place = table.column_names.index("explanation")
        words = pa.array(["a token of corpus #1"] * len(table), pa.string())
        pq.write_table(table.set_column(place, "explanation", words), file)
    results = results_of(parameters, inputs)
    said = {row["method"]: row["explanation"] for row in results["explanations"]["base"]}
    assert said == {"rule": "a token of corpus lua", "language_model": "a token of corpus #1"}
    about = results["labels"][0]["about"]["explanations"]
    assert about[0]["explanation"] == "a token of corpus lua"
