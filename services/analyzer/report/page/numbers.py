"""Numbers and tokens as the page writes them, with the exact value behind each number."""

from __future__ import annotations

import json
from collections.abc import Sequence

from markupsafe import Markup

from services.analyzer.report.text import percent


def exact(value: float | None, text: str) -> Markup:
    """A number as it is written, with the number as it is in results.json behind it."""
    if value is None:
        return Markup('<span class="none" title="not defined here">{}</span>').format(text)
    return Markup('<data value="{0}" title="{0}">{1}</data>').format(json.dumps(value), text)


def exact_range(interval: Sequence[float] | None, scale: int, digits: int) -> Markup:
    """An interval as "[36.1, 42.0]"; `scale` 100 for shares that are written as per cent."""
    if interval is None:
        return Markup("")
    unit = Markup(' data-scale="{}"').format(scale)
    low, high = (
        Markup('<data value="{0}" title="{0}"{1}>{2}</data>').format(
            json.dumps(value), unit, f"{scale * value:.{digits}f}"
        )
        for value in interval
    )
    return Markup('<span class="range">[{}, {}]</span>').format(low, high)


def shares_in_words(values: Sequence[float]) -> str:
    """Shares for a reader who hears the page: "30 %, 20 %, 50 %"."""
    return ", ".join(percent(value, 0) for value in values)


def visible(token: str) -> str:
    """A token whose spaces and line breaks can be seen."""
    return token.replace("\n", "↵").replace("\t", "⇥").replace(" ", "·") or "(empty)"
