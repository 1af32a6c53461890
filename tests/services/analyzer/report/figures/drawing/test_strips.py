"""Shaded tokens in pictures."""

from __future__ import annotations

from services.analyzer.report.figures.drawing.strips import wrapped


def test_wrapped_tokens_keep_every_letter_and_stay_in_their_lines() -> None:
    tokens = ["local", " x", " =\n", "a" * 23, "", "\tend"]
    pieces = wrapped(tokens, [0.0] * len(tokens), 10)
    assert all(piece.column + len(piece.text) <= 10 for piece in pieces)
    shown = "".join(piece.text for piece in pieces)
    assert shown == "".join(tokens).replace("\n", "↵").replace("\t", "    ")
