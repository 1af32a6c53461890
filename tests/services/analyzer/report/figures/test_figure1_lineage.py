"""Figure 1."""

from __future__ import annotations

from pathlib import Path

from services.analyzer.report.figures.figure1_lineage import draw
from tests.services.analyzer.report.results.test_results import results_of
from tests.support.report.inputs import build


def test_the_lineage_says_which_parent_is_t_0(tmp_path: Path) -> None:
    results = results_of(*build(tmp_path))
    drawing = draw(results)
    at = {label.text: label.y for label in drawing.labels}
    assert results["models"]["luastories"]["merge"]["at_zero"] == "lua"
    assert (at["lua"] > at["stories"]) == (at["t = 0"] > at["t = 1"])
