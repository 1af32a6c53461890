"""Drawings of the report: to scale, legible, and with nothing of the text lost."""

from __future__ import annotations

from typing import Any

import pytest

from services.analyzer.report.figures import flow, flow_plan, lineage
from services.analyzer.report.figures.drawing import broken, fitting, overlap
from services.analyzer.report.figures.layout import place
from services.analyzer.report.figures.png.canvas import drawable
from services.analyzer.report.figures.png.features import wrapped
from services.analyzer.report.page.page import evaluation_rows, shaded
from services.analyzer.report.tables.tables import file_names
from tests.services.analyzer.report.results.test_results import results_of
from tests.support.report.inputs import TEN, Family, build


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results_of(*build(tmp_path_factory.mktemp("paper")))


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results_of(*build(tmp_path_factory.mktemp("ten"), Family(models=TEN)))


def test_labels_of_a_flow_of_ten_models_do_not_cover_each_other(ten: dict[str, Any]) -> None:
    drawing = flow.draw(list(ten["models"]), ten["edges"])
    covered = [
        (one.text, other.text)
        for number, one in enumerate(drawing.labels)
        for other in drawing.labels[number + 1 :]
        if overlap(one, other)
    ]
    assert covered == []
    for label in drawing.labels:
        left, bottom, right, top = label.extent()
        assert 0 <= left < right <= drawing.width
        assert 0 <= bottom < top <= drawing.height


def test_a_flow_is_drawn_to_one_scale(results: dict[str, Any]) -> None:
    drawing = flow.draw(list(results["models"]), results["edges"])
    largest = max(max(edge["alive_parent"], edge["alive_child"]) for edge in results["edges"])
    heights = [max(patch.y) - min(patch.y) for patch in drawing.patches]
    for edge in results["edges"]:
        for count in ("persist", "split", "disappear", "merge_child", "emerge"):
            expected = flow_plan.BAR * edge[count] / largest
            assert any(abs(height - expected) < 1e-6 for height in heights)


def test_a_flow_without_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one edge"):
        flow.draw(["base"], [])


def test_the_lineage_says_which_parent_is_t_0(results: dict[str, Any]) -> None:
    drawing = lineage.draw(results)
    at = {label.text: label.y for label in drawing.labels}
    assert results["models"]["luastories"]["merge"]["at_zero"] == "lua"
    assert (at["lua"] > at["stories"]) == (at["t = 0"] > at["t = 1"])


def test_an_edge_that_skips_columns_passes_between_the_models() -> None:
    edges = [("a", "b"), ("b", "c"), ("a", "c")]
    columns = place(["a", "b", "c"], edges)
    assert columns.routes["a", "c"] == ("a", ("a", "c", 1), "c")
    assert set(columns.columns[1]) == {"b", ("a", "c", 1)}
    assert columns.column_of("c") == 2


def test_siblings_are_ordered_so_that_edges_do_not_cross() -> None:
    edges = [("root", "x"), ("root", "y"), ("x", "below"), ("y", "above")]
    columns = place(["root", "x", "y", "above", "below"], edges).columns
    assert columns[1].index("x") == columns[2].index("below")


def test_a_long_name_is_made_smaller_and_then_cut() -> None:
    assert fitting("lua", 100, 14, 9) == ("lua", 14)
    assert broken("lua", 14) == ["lua"]
    assert broken("everything-together", 14) == ["everything-", "together"]
    text, size = fitting("a-rather-long-name-for-a-model", 100, 14, 9)
    assert size == 9
    assert text.endswith("…")


# -------------------------------------------------------------------------------- text


def test_tokens_are_escaped_and_shaded_by_activation() -> None:
    text = str(shaded(["<b>", " x", "\n"], [2.0, 0.0, 1.0], 4.0))
    assert '<mark style="--a:0.500" title="2.0">&lt;b&gt;</mark> x' in text
    assert "↵\n</mark>" in text
    assert str(shaded(["a"], [0.0], 0.0)) == "a"


def test_wrapped_tokens_keep_every_letter_and_stay_in_their_lines() -> None:
    tokens = ["local", " x", " =\n", "a" * 23, "", "\tend"]
    pieces = wrapped(tokens, [0.0] * len(tokens), 10)
    assert all(piece.column + len(piece.text) <= 10 for piece in pieces)
    shown = "".join(piece.text for piece in pieces)
    assert shown == "".join(tokens).replace("\n", "↵").replace("\t", "    ")


def test_letters_that_the_fonts_lack_become_boxes() -> None:
    assert drawable("add 加\x00") == "add □□"


def test_names_that_would_share_a_file_get_different_ones() -> None:
    assert file_names(["a/b", "a_b", "c"]) == {"a/b": "a_b", "a_b": "a_b_", "c": "c"}


def test_shades_of_the_evaluation_go_from_worst_to_best(results: dict[str, Any]) -> None:
    rows = evaluation_rows(results)
    assert [(row["name"], row["untrained"]) for row in rows][:2] == [
        ("base", True),
        ("base", False),
    ]
    for column in range(3):
        cells = [row["cells"][column] for row in rows]
        best = min(cells, key=lambda cell: cell["loss"])
        assert best["best"]
        assert best["strength"] == 1.0
        assert cells[0]["strength"] == 0.0
