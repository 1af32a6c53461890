"""The canvas of pictures draws any text."""

from __future__ import annotations

from services.analyzer.report.figures.drawing.canvas import drawable


def test_letters_that_the_fonts_lack_become_boxes() -> None:
    assert drawable("add 加\x00") == "add □□"
