"""Text in drawings: made to fit, broken and cut."""

from __future__ import annotations

from services.analyzer.report.figures.drawing.shapes import broken, fitting


def test_a_long_name_is_made_smaller_and_then_cut() -> None:
    assert fitting("lua", 100, 14, 9) == ("lua", 14)
    assert broken("lua", 14) == ["lua"]
    assert broken("everything-together", 14) == ["everything-", "together"]
    text, size = fitting("a-rather-long-name-for-a-model", 100, 14, 9)
    assert size == 9
    assert text.endswith("…")
