"""The stored explanations of a model, and which of them names a feature."""

from __future__ import annotations

import pyarrow as pa

from shared.lineage.explanations.artifact import COLUMNS, best, with_names

RULES = pa.table({"feature": [1, 2], "explanation": ["a token of corpus #0", None]})
MODEL = pa.table({"feature": [2, 3], "explanation": ["corpus #0", "cats"]})


def test_only_rules_call_corpora_by_their_number() -> None:
    texts = [
        with_names(table, method, ["lua"])["explanation"].to_pylist()
        for table, method in ((RULES, "rule"), (MODEL, "language_model"))
    ]
    assert texts == [["a token of corpus lua", None], ["corpus #0", "cats"]]


def test_the_last_method_that_explained_a_feature_names_it() -> None:
    rules = pa.table({"feature": [1, 2, 3], "explanation": ["a", "b", "c"]})
    model = pa.table({"feature": [2, 3], "explanation": [None, "cats"]})
    found = best([("rule", rules), ("language_model", model)])
    named = {feature: (row["method"], row["explanation"]) for feature, row in found.items()}
    assert named == {1: ("rule", "a"), 2: ("rule", "b"), 3: ("language_model", "cats")}


def test_readers_see_a_column_for_each_score() -> None:
    assert COLUMNS[:4] == ("feature", "status", "density", "explanation")
    assert COLUMNS[4:7] == ("score", "detection", "fuzzing")
    assert COLUMNS[-1] == "failure"
