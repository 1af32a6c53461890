"""What a rule may ask about a token of the stream.

An attribute gives every token one whole number. "token" is its id, "before" the id of the token
before it (-1 at the start of a context), "position" 0 for the first token of a context and else
1 to 8 for its eighth, "corpus" the number of the corpus. The others answer no (0) or yes (1):
"line" whether the token is the first of its line (white space aside), "class:NAME" and
"class_before:NAME" whether the token, or the one before it, is of a class (see classes.py).

A model reads from left to right: nothing that stands after a token can make its feature fire, so
no attribute looks there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.analyzer.explain.rules.classes import (
    BLANK,
    BREAKS,
    CLASSES,
    NUMBER_OF,
    OPENS,
    bits_at,
)
from shared.arrays import BoolArray, IntArray
from shared.data.token_stream import HeldOut

EIGHTHS = 8
POSITIONS = 1 + EIGHTHS  # the first token of a context is a cell of its own

CLASS, CLASS_BEFORE = "class:", "class_before:"
FLAGS = (
    "line",
    *(CLASS + one.name for one in CLASSES),
    *(CLASS_BEFORE + one.name for one in CLASSES),
)  # attributes that answer no or yes


def values_at(attribute: str, stream: HeldOut, texts: Sequence[str], places: IntArray) -> IntArray:
    """The attribute at tokens of the stream, in the shape of `places`; ValueError if unknown."""
    context = stream.tokens_CT.shape[1]
    if attribute == "position":
        return cells_of(places % context, context)
    if attribute == "corpus":
        return np.asarray(stream.corpus_C[places // context], np.int64)
    if attribute == "line":
        return _starts_line(stream, texts, places).astype(np.int64)
    if attribute == "token":
        return _ids(stream, places, 0)
    if attribute == "before":
        return _ids(stream, places, 1)
    kind, _, name = attribute.partition(":")
    if name not in NUMBER_OF or kind + ":" not in (CLASS, CLASS_BEFORE):
        raise ValueError(f"no rule asks for {attribute!r}")
    ids = _ids(stream, places, int(kind + ":" == CLASS_BEFORE))
    return (bits_at(texts, ids) >> NUMBER_OF[name]) & 1


def cells_of(inside: IntArray, context: int) -> IntArray:
    """Cell 0 .. 8 of places in a context of `context` tokens, in their shape."""
    return np.where(inside == 0, 0, 1 + inside * EIGHTHS // context)


def _ids(stream: HeldOut, places: IntArray, back: int) -> IntArray:
    """The token `back` tokens before each place; -1 where that is outside the context."""
    context = stream.tokens_CT.shape[1]
    inside = places % context
    ids = stream.tokens_CT[places // context, np.maximum(inside - back, 0)].astype(np.int64)
    return np.where(inside >= back, ids, -1)


def _starts_line(stream: HeldOut, texts: Sequence[str], places: IntArray) -> BoolArray:
    """Whether a line break stands before the token, with nothing but white space between.

    A context's own start is no start of a line: what stood before it is not in the stream.
    """
    own = bits_at(texts, _ids(stream, places, 0))
    starts: BoolArray = (own & OPENS) != 0
    # White space starts nothing; the others look back over it.
    open_ = ~starts & ((own & BLANK) == 0)
    back = 1
    while open_.any():
        ids = _ids(stream, places[open_], back)
        before = np.where(ids < 0, 0, bits_at(texts, ids))
        starts[open_] = (before & BREAKS) != 0
        open_[open_] = (before & (BLANK | BREAKS)) == BLANK
        back += 1
    return starts
