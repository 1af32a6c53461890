"""Parses what a language model answered: one sentence, or one number or verdict for each item.

Answers are hostile until they have been read: whatever is not clearly of the form that was asked
for raises Unreadable with one of a few reasons, and nothing is guessed.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping

from services.analyzer.explain.language_model.feature_answers import Reason

LONGEST = 200  # characters of an explanation
HIGHEST = 9.0  # level

_THOUGHT_END = "</think>"
_THOUGHT = re.compile(r"\s*<think>")
_FENCE = re.compile(r"\A```[a-z]*\s*(.*?)\s*```\Z", re.DOTALL)
_LEAD = re.compile(r"\A\W{0,4}(?:explanation|answer)\W{0,4}:\W{0,4}", re.IGNORECASE)
# A number and what is said of it, on a line of their own or in one line with the others.
_PAIR = re.compile(
    r"""(?:^|[\n,;{])[ \t]*"?([0-9]{1,4})"?[ \t]*:[ \t]*"?([^\s,;"}]+)"?"""
    r"""[ \t\r]*(?=[\n}]|$|[,;]\s*"?[0-9])"""
)
_LIST = re.compile(r"\A\s*\[([^\[\]{}]*)\]\s*\Z")
_ITEM = re.compile(r"""[^\s,"']+""")
_LINE = re.compile(r"""\A[ \t*#(-]{0,8}["']?([0-9]{1,4})["']?[ \t]*[:.)|=\t]([^\n]*)\Z""")
_ECHO = re.compile(r"""\A[\s*:|-]*"(?:[^"\\]|\\.)*\"""")
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z]+|[0-9]+")
_VERDICTS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

# What is said of an item in a part of an answer that begins at a place of it; None: nothing clear.
Reader = Callable[[str, int], float | None]


class Unreadable(Exception):
    """An answer that is not of the form that was asked for."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def read_explanation(text: str) -> str:
    """The sentence of an answer; a JSON object, quotes or "Explanation:" around it are tolerated.

    Characters that only control how others are shown are removed. Raises Unreadable when nothing is
    left, or more than LONGEST characters.
    """
    text = text[_begin(text) :].strip()
    fenced = _FENCE.match(text)
    text = _LEAD.sub("", _from_json(fenced[1] if fenced else text))
    text = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    text = _unwrapped(" ".join(text.split()))
    if not re.search(r"\w", text):
        raise Unreadable(Reason.EMPTY)
    if len(text) > LONGEST:
        raise Unreadable(Reason.LONG)
    return text


def _unwrapped(text: str) -> str:
    """The text without marks that stand around all of it, and nowhere else in it."""
    for opening, closing in (("**", "**"), *((mark, mark) for mark in "\"'*`"), ("“", "”")):
        inside = text[len(opening) : -len(closing)].strip()
        if text.startswith(opening) and text.endswith(closing) and opening not in inside:
            text = inside
    return text


def _from_json(text: str) -> str:
    """The text that a JSON string or object holds; any other text as it is."""
    if text[:1] not in ('"', "{"):
        return text
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        if text[:1] == "{":
            raise Unreadable(Reason.UNREADABLE) from None
        return text  # a sentence that begins with a quotation
    if isinstance(found, dict):
        found = found.get("explanation", next(iter(found.values())) if len(found) == 1 else None)
    if not isinstance(found, str):
        raise Unreadable(Reason.UNREADABLE)
    return found


def read_levels(text: str, count: int, expected: Mapping[int, float]) -> list[float]:
    """The level of each of `count` tokens, 0..9.

    `expected` gives, by its place in the text, the expected level of an answered digit, where the
    server gave log-probabilities; elsewhere the answered number counts. Raises Unreadable when a
    token has no level, more than one, or one that is no number from 0 to 9.
    """

    def level(part: str, place: int) -> float | None:
        numbers = list(_NUMBER.finditer(part))
        if len(numbers) != 1 or not _stands_alone(part, numbers[0]):
            return None
        answered = float(numbers[0][0])
        if not 0 <= answered <= HIGHEST:
            return None
        return expected.get(place + numbers[0].start(), answered)

    return _read(text, count, level)


def read_verdicts(text: str, count: int) -> list[bool]:
    """Yes or no for each of `count` items; Unreadable when one has none, or both."""

    def verdict(part: str, place: int) -> float | None:  # noqa: ARG001  (a Reader)
        words = _WORD.findall(part.lower())
        said = {_VERDICTS[word] for word in words if word in _VERDICTS and not word.isdigit()}
        if not said and len(words) == 1:
            said = {_VERDICTS[word] for word in words if word in _VERDICTS}
        return float(said.pop()) if len(said) == 1 else None

    return [value == 1 for value in _read(text, count, verdict)]


# ---------------------------------------------------------------------------- numbered answers


def _read(text: str, count: int, reader: Reader) -> list[float]:
    begin = _begin(text)
    if not text[begin:].strip():
        raise Unreadable(Reason.EMPTY)
    for way in (_as_list, _as_pairs, _as_lines):
        found = way(text, begin, count, reader)
        if found is not None:
            return found
    raise Unreadable(Reason.UNREADABLE)


def _as_list(text: str, begin: int, count: int, reader: Reader) -> list[float] | None:
    """A JSON list with one entry for each item."""
    whole = _LIST.match(text[begin:])
    if whole is None:
        return None
    items = list(_ITEM.finditer(whole[1]))
    start = begin + whole.start(1)
    values = [reader(item[0], start + item.start()) for item in items]
    return _complete(list(enumerate(values, 1)), count)


def _as_pairs(text: str, begin: int, count: int, reader: Reader) -> list[float] | None:
    """`number: answer`, on lines, between commas, or as a JSON object."""
    pairs = list(_PAIR.finditer(text, begin))
    return _complete([(int(pair[1]), reader(pair[2], pair.start(2))) for pair in pairs], count)


def _as_lines(text: str, begin: int, count: int, reader: Reader) -> list[float] | None:
    """Lines that begin with a number; the item itself may be repeated, and prose may follow."""
    found: list[tuple[int, float | None]] = []
    place = begin
    for line in text[begin:].split("\n"):
        numbered = _LINE.match(line)
        if numbered is not None:
            echo = _ECHO.match(numbered[2])
            skipped = numbered.start(2) + (echo.end() if echo else 0)
            found.append((int(numbered[1]), reader(line[skipped:], place + skipped)))
        place += len(line) + 1
    return _complete(found, count)


def _complete(found: list[tuple[int, float | None]], count: int) -> list[float] | None:
    """The values in the order of the items, if each of them has one, and nothing else does."""
    values = dict(found)
    if len(found) != count or set(values) != set(range(1, count + 1)):
        return None
    ordered = [values[number] for number in range(1, count + 1)]
    clear = [value for value in ordered if value is not None]
    return clear if len(clear) == count else None


def _stands_alone(part: str, number: re.Match[str]) -> bool:
    """False for a number inside a word, a version, a date, a fraction or after a minus."""
    before, after = part[: number.start()][-1:], part[number.end() :].rstrip("\"'*`) \t\r")
    if after == ".":
        return True
    return not any(one.isalnum() or one in "._/%−–" for one in before + part[number.end() :][:1])


def _begin(text: str) -> int:
    """Where the answer begins after thoughts that a model may have spoken first."""
    end = text.rfind(_THOUGHT_END)
    if end >= 0:
        return end + len(_THOUGHT_END)
    if _THOUGHT.match(text):
        raise Unreadable(Reason.CUT)
    return 0
