"""How numbers and names are written, on the page as in the pictures."""

from __future__ import annotations

from collections.abc import Iterable

NONE = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A number with a fixed count of decimals; a dash for None."""
    return NONE if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent: 0.443 becomes "44.3 %" (with a space that does not break)."""
    return NONE if value is None else f"{100 * value:.{digits}f}\u00a0%"


def count(value: int | None) -> str:
    """A whole number with separators between thousands."""
    return NONE if value is None else f"{value:,}"


def compact(value: float | None) -> str:
    """A large number with three significant digits and a unit: 35.1 M."""
    if value is None:
        return NONE
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}\u00a0{unit}"
    return f"{value:.3g}"


def short(text: str, length: int) -> str:
    """The text, cut with an ellipsis where it is longer than `length` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def listed(names: Iterable[str], most: int = 3) -> str:
    """Words as "a, b and c"; those beyond `most` are counted."""
    words = list(names)
    shown = words[:most]
    if len(words) > most:
        shown.append(f"{len(words) - most} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def plain(text: str, most: int = 300) -> str:
    """Text of unknown origin in one line: what cannot be seen is written as an escape.

    Control characters, line breaks and marks that turn the direction of writing could hide or
    reorder what stands around them. Longer texts are cut.
    """
    shown = short(text, most)
    return "".join(one if one.isprintable() else _escape(one) for one in shown)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
