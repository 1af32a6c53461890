"""Explanations on the page and in the tables: shown as text whatever they are, and read plainly."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.report.explanations import HOSTILE_WORDS
from tests.support.report.inputs import HOSTILE, Family
from tests.support.report.output import make, results_in, rows_of, words_on

BOTH = ("rule", "language_model")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("explained"), Family(explain=BOTH))


@pytest.fixture(scope="module")
def results(output: Path) -> dict[str, Any]:
    return results_in(output)


@pytest.fixture(scope="module")
def words(output: Path) -> str:
    return words_on(output)


def test_hostile_explanations_are_shown_as_text_and_never_run(output: Path, words: str) -> None:
    text = (output / "report.html").read_text("utf-8")
    outside = re.sub(r"<script\b[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert HOSTILE in words
    assert HOSTILE not in text
    assert "<i>model</i>" not in outside  # the operator's label of the language model
    assert "small <i>model</i>" in words
    assert "no number in the answer <b>" in words
    assert "safe \\u202egnihton\\u202c" in words
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e\u2066-\u2069]", outside)
    assert "x" * 301 not in outside


def test_results_json_keeps_every_word_that_was_said(results: dict[str, Any]) -> None:
    said = {row["explanation"] for row in results["explanations"]["base"]}
    assert set(HOSTILE_WORDS) <= said


def test_the_tables_hold_every_explanation_of_every_model_and_method(
    output: Path, results: dict[str, Any]
) -> None:
    rows = rows_of(output / "csv" / "explanations.csv")
    for one in results["explanation_scores"]:
        mine = [r for r in rows if (r["model"], r["method"]) == (one["model"], one["method"])]
        assert len(mine) == one["features"]
        assert sum(row["score"] != "" for row in mine) == one["scored"]
    assert "'=1+1" in {row["explanation"] for row in rows}
    assert not [row for row in rows if row["explanation"].startswith("=")]
    assert max(len(row["explanation"]) for row in rows) == 5000


def test_the_tables_of_scores_and_edges_are_those_of_results_json(
    output: Path, results: dict[str, Any]
) -> None:
    scores = rows_of(output / "csv" / "explanation_scores.csv")
    whole = [row for row in scores if row["status"] == "all"]
    for row, one in zip(whole, results["explanation_scores"], strict=True):
        assert float(row["score"]) == one["score"]
        assert float(row["interval_low"]) == one["interval"][0]
    edges = rows_of(output / "csv" / "explained_edges.csv")
    assert len(edges) == 2 * len(results["explained_edges"])
    assert float(edges[0]["cross"]) == results["explained_edges"][0]["persist"]["cross"]
    assert (
        float(edges[1]["difference_interval_high"])
        == (results["explained_edges"][0]["disappear"]["difference_interval"][1])
    )
    cross = rows_of(output / "csv" / "cross_scores.csv")
    first = [row for row in cross if (row["child"], row["method"]) == ("lua", "rule")]
    assert sum(row["status"] == "persist" for row in first) == int(edges[0]["features"])


def test_the_table_of_features_names_them_by_the_language_model_where_it_spoke(
    output: Path, results: dict[str, Any]
) -> None:
    rows = rows_of(output / "csv" / "features_base.csv")
    named = {row["explained_by"] for row in rows}
    assert named == {"", "rule", "language_model"}
    said = {
        str(row["feature"]): row["explanation"]
        for row in results["explanations"]["base"]
        if row["method"] == "language_model" and row["failure"] is None
    }
    for row in rows:
        if row["explained_by"] == "language_model":
            assert row["explanation"].removeprefix("'") == said[row["feature"]]


def test_the_page_says_what_the_scores_allow_to_conclude(
    words: str, results: dict[str, Any]
) -> None:
    one = results["explanation_scores"][0]
    assert (
        f"Explanations by rules predict the activations of {one['scored']} features of base on "
        f"held-out text with a mean score of {one['score']:.2f}"
    ) in words
    assert "A low score says that a feature follows something other than these" in words
    assert "tried on 75.0 % of the chosen features of base (812 requests" in words
    assert "an explanation loses less when it is applied to the match of a feature" in words
    assert "left out of the means, which makes the means look better" in words
    assert "Figure 6." in words


def test_rules_alone_say_nothing_of_language_models(tmp_path: Path) -> None:
    made = make(tmp_path, Family(explain=("rule",)))
    text = words_on(made)
    assert "Figure 6." in text
    assert "language model" not in text.partition("Provenance")[0]
    assert (made / "png" / "figure6_explanations.png").exists()
