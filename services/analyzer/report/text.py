"""How numbers, names and origins are written: on the page, in pictures and in file names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from shared.lineage.explanations.methods import METHODS

NONE = "–"
SPARSITY = {"k": "k", "l0": "target L0", "l1": "L1 weight"}


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


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A different, harmless file name for every name."""
    found: dict[str, str] = {}
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9._@-]", "_", name)
        while safe in found.values():
            safe += "_"
        found[name] = safe
    return found


def made_how(model: Mapping[str, Any]) -> str:
    """How a model of results.json came to be, in a few words."""
    merge = model["merge"]
    if merge:
        return f"{(merge['method'] or '').upper()} merge at t = {merge['t']:g}"
    checkpoint = model["checkpoint"]
    if checkpoint:
        return f"{checkpoint['of']} after step {count(checkpoint['step'])}"
    verb = {"pretrain": "pre-trained", "finetune": "fine-tuned", "import": "imported"}
    on = f" on {listed(model['trained_on'], 2)}" if model["trained_on"] else ""
    return f"{verb[model['kind']]}{on}"


def sparsity(cell: Mapping[str, Any]) -> str:
    """What a cell of a grid of dictionaries asked of sparsity: "k = 32"."""
    name = SPARSITY.get(cell["sparsity_by"], "sparsity")
    value = cell["sparsity"]
    return name if value is None else f"{name} = {value:g}"


def named(values: Mapping[str, Any]) -> str:
    """Who explained: "rules", or the language model by its label."""
    method = METHODS[values["method"]]
    if not method.needs_language_model:
        return method.label
    return short(plain(values["label"] or method.label), 40)
