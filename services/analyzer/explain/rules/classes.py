"""What a token looks like: classes of its text that a rule can name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shared.arrays import IntArray

_OPERATOR = re.compile(r"[-+*/%=<>!&|^~@]+")
_CAMEL = re.compile(r"[a-z][A-Z]")
_SPECIAL = re.compile(r"<\|?\w[^<>\s]*>|</\w+>|\[[A-Z]+\]")


@dataclass(frozen=True)
class TokenClass:
    """A class of tokens: `phrase` names one of them, `holds` is asked with text and stripped text.

    `name` stands in stored rules, so it never changes its meaning.
    """

    name: str
    phrase: str
    holds: Callable[[str, str], bool]


def _word(word: str) -> bool:
    return word.isalpha()


def _suffix(ending: str) -> TokenClass:
    return TokenClass(
        f"ends_{ending}",
        f"a word that ends in -{ending}",
        lambda _, word: _word(word) and word.endswith(ending) and len(word) > len(ending) + 1,
    )


CLASSES = (
    TokenClass("digits", "a number", lambda _, word: word.isdecimal()),
    TokenClass(
        "capitalised",
        "a word with a capital first letter",
        lambda _, word: _word(word) and word[0].isupper() and not word[1:].isupper(),
    ),
    TokenClass(
        "capitals",
        "a word in capitals",
        lambda _, word: _word(word) and len(word) > 1 and word.isupper(),
    ),
    TokenClass(
        "lower", "a word in lower case", lambda _, word: _word(word) and word == word.lower()
    ),
    TokenClass("letter", "a single letter", lambda _, word: len(word) == 1 and _word(word)),
    TokenClass(
        "starts_word",
        "a token that starts a word",
        lambda text, word: text[:1].isspace() and word[:1].isalpha(),
    ),
    TokenClass(
        "continues",
        "a token of letters without a space before it",
        lambda text, word: text == word and _word(word),
    ),
    TokenClass(
        "camel",
        "an identifier with a capital inside",
        lambda _, word: bool(_CAMEL.search(word)) and word.isalnum(),
    ),
    TokenClass(
        "underscore",
        "a token with an underscore",
        lambda _, word: "_" in word,
    ),
    TokenClass(
        "punctuation",
        "a token of signs only",
        lambda _, word: bool(word) and not any(c.isalnum() or c.isspace() for c in word),
    ),
    TokenClass("operator", "an operator", lambda _, word: bool(_OPERATOR.fullmatch(word))),
    TokenClass(
        "stop", "a full stop, question or exclamation mark", lambda _, word: word in (".", "!", "?")
    ),
    TokenClass("opening", "a token that opens a bracket", lambda _, word: word[-1:] in set("([{")),
    TokenClass(
        "closing", "a token that closes a bracket", lambda _, word: bool(set(word) & set(")]}"))
    ),
    TokenClass(
        "quote",
        "a token with a quotation mark",
        lambda _, word: bool(set(word) & set("\"'`“”‘’")),
    ),
    TokenClass("newline", "a line break", lambda text, _: "\n" in text),
    TokenClass(
        "space",
        "white space without a line break",
        lambda text, word: bool(text) and not word and "\n" not in text,
    ),
    TokenClass("non_ascii", "a token outside ASCII", lambda text, _: not text.isascii()),
    TokenClass("special", "a special token", lambda _, word: bool(_SPECIAL.fullmatch(word))),
    *map(_suffix, ("ing", "ed", "s", "ly", "er", "ion")),
)
NUMBER_OF = {one.name: number for number, one in enumerate(CLASSES)}
BREAKS, BLANK, OPENS = (1 << (len(CLASSES) + place) for place in range(3))


@lru_cache(maxsize=1 << 18)
def bits_of(text: str) -> int:
    """Bit i: the text is of CLASSES[i]; further bits: how it stands to lines.

    BREAKS: a line ends with it (white space after the break aside). BLANK: nothing but white space.
    OPENS: it holds a break and then something else, so it starts a line itself.
    """
    word = text.strip()
    bits = sum(1 << number for number, one in enumerate(CLASSES) if one.holds(text, word))
    _, line_break, tail = text.rpartition("\n")
    if line_break:
        bits |= OPENS if tail.strip() else BREAKS
    return bits | (BLANK if text and not word else 0)


def bits_at(texts: Sequence[str], ids: IntArray) -> IntArray:
    """The bits of tokens, in the shape of `ids`; no bits for an id without a text or below 0."""
    known, where = np.unique(ids, return_inverse=True)
    bits = [bits_of(texts[one]) if 0 <= one < len(texts) else 0 for one in known.tolist()]
    return np.array(bits, np.int64)[where].reshape(ids.shape)
