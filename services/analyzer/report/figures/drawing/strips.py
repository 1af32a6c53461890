"""Shaded tokens in a PNG, as figures 3 and 4 have them; the page has its own in its templates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.analyzer.report.figures.drawing.shapes import Drawing, Label, Patch, rectangle
from services.analyzer.report.text import short

COLUMN, GUTTER, MARGIN = 480.0, 24.0, 16.0  # pixels
SIZE, LINE = 12.0, 18.0  # of the monospaced font
LETTER = 0.602 * SIZE  # width of every letter of it
LETTERS = int(COLUMN / LETTER)
SHADE = "#f29933"


def peak(activations: Iterable[Sequence[float]]) -> float:
    """The strongest activation on any token of some contexts; 0 of none."""
    return max((value for values in activations for value in values), default=0.0)


@dataclass(frozen=True)
class Strip:
    """Tokens of some contexts, and the activations of one feature on them."""

    title: str
    contexts: Sequence[tuple[str | None, Sequence[str], Sequence[float]]]

    @property
    def peak(self) -> float:
        """The strongest activation shown."""
        return peak(values for _, _, values in self.contexts)


@dataclass(frozen=True)
class Piece:
    """Part of a token on one line."""

    line: int
    column: int
    text: str
    value: float


def wrapped(tokens: Sequence[str], values: Sequence[float], letters: int) -> list[Piece]:
    """Tokens broken into lines of at most `letters` letters, and at line feeds."""
    pieces = []
    line, column = 0, 0
    for token, value in zip(tokens, values, strict=True):
        for part in token.replace("\t", "    ").replace("\n", "↵\n").splitlines(keepends=True):
            text = part.rstrip("\r\n")
            if column and column + len(text) > letters:
                line, column = line + 1, 0
            for start in range(0, len(text), letters):
                if start:
                    line, column = line + 1, 0
                chunk = text[start : start + letters]
                pieces.append(Piece(line, column, chunk, value))
                column += len(chunk)
            if part.endswith("\n"):
                line, column = line + 1, 0
    return pieces


def strips(columns: Sequence[Sequence[Strip]]) -> Drawing:
    """Strips below each other in columns beside each other."""
    width = len(columns) * (COLUMN + GUTTER) - GUTTER + 2 * MARGIN
    laid = Drawing(width=width, height=0.0)
    depths = [0.0]
    for place, column in enumerate(columns):
        left, y = MARGIN + place * (COLUMN + GUTTER), -MARGIN
        for strip in column:
            y = _lay(laid, strip, left, y) - 18
        depths.append(y)
    laid.height = -min(depths)
    return Drawing(
        laid.width,
        laid.height,
        [Patch(p.x, tuple(y + laid.height for y in p.y), p.fill, p.opacity) for p in laid.patches],
        [],
        [_lifted(label, laid.height) for label in laid.labels],
    )


def _lifted(label: Label, height: float) -> Label:
    return Label(
        label.x,
        label.y + height,
        label.text,
        label.size,
        label.bold,
        label.muted,
        anchor="left",
        mono=label.mono,
    )


def _lay(drawing: Drawing, strip: Strip, left: float, y: float) -> float:
    """Lay a strip out downwards from y; returns where it ends."""
    drawing.labels.append(Label(left, y - 9, short(strip.title, 60), 13, bold=True))
    y -= 26
    for corpus, tokens, values in strip.contexts:
        if corpus:
            drawing.labels.append(Label(left, y - 7, short(corpus, 60), 10, muted=True))
            y -= 17
        pieces = wrapped(tokens, values, LETTERS)
        for piece in pieces:
            x, middle = left + piece.column * LETTER, y - LINE * (piece.line + 0.5)
            if piece.value > 0 and strip.peak > 0:
                right = x + LETTER * len(piece.text)
                box = rectangle(x, middle - 8, right, middle + 8, 2)
                drawing.patches.append(Patch(*box, SHADE, 0.12 + 0.83 * piece.value / strip.peak))
            text = piece.text.lstrip(" ")
            x += LETTER * (len(piece.text) - len(text))
            if text:
                drawing.labels.append(Label(x, middle, text, SIZE, mono=True))
        y -= LINE * (max((piece.line for piece in pieces), default=0) + 1) + 8
    return y


def strip(title: str, example: Mapping[str, Any], values: Sequence[Sequence[float]]) -> Strip:
    """The contexts of an example with one feature's activations on each."""
    return Strip(
        title,
        [
            (context["corpus"], context["tokens"], strengths)
            for context, strengths in zip(example["contexts"], values, strict=True)
        ],
    )
