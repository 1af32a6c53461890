"""Figure 2: to scale, legible, and with nothing of the text lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.analyzer.report.figures.drawing.flow_plan import BAR
from services.analyzer.report.figures.drawing.shapes import overlap
from services.analyzer.report.figures.figure2_flow import draw
from tests.services.analyzer.report.results.test_results import results_of
from tests.support.report.inputs import TEN, Family, build


def test_labels_of_a_flow_of_ten_models_do_not_cover_each_other(tmp_path: Path) -> None:
    ten = results_of(*build(tmp_path, Family(models=TEN)))
    drawing = draw(list(ten["models"]), ten["edges"])
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


def test_a_flow_is_drawn_to_one_scale(tmp_path: Path) -> None:
    results = results_of(*build(tmp_path))
    drawing = draw(list(results["models"]), results["edges"])
    largest = max(max(edge["alive_parent"], edge["alive_child"]) for edge in results["edges"])
    heights = [max(patch.y) - min(patch.y) for patch in drawing.patches]
    for edge in results["edges"]:
        for count in ("persist", "split", "disappear", "merge_child", "emerge"):
            expected = BAR * edge[count] / largest
            assert any(abs(height - expected) < 1e-6 for height in heights)


def test_a_flow_without_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one edge"):
        draw(["base"], [])
