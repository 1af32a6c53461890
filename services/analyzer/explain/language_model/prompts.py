"""The prompts: texts in files beside this one, filled in with data that cannot leave its place.

Every token and every explanation is a JSON string on a line of its own or between delimiters. The
delimiters, line ends and invisible characters are escaped in it, so that a text of a corpus can
neither close the data nor begin a new line.

K: tokens of a window.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt

NAMES = ("detect", "explain", "fuzz", "simulate")
DIRECTORY = Path(__file__).parent / "templates"
RULE = "\n---\n"  # between what the system says and what the user says
# Delimiters, controls, line separators, bidirectional and zero-width marks, and halves of pairs.
_UNSAFE = re.compile(
    "[⟦⟧⟪⟫\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)

Messages = list[dict[str, str]]


def prompts_digest() -> str:
    """The sha256 (hex) over all prompt files, which a stage key holds."""
    digest = hashlib.sha256()
    for name in NAMES:
        digest.update(name.encode() + b"\0" + (DIRECTORY / f"{name}.txt").read_bytes() + b"\0")
    return digest.hexdigest()


def quoted(text: str) -> str:
    """The text as a JSON string that holds no delimiter and stays on its line."""
    return _UNSAFE.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False)
    )


def explain(texts_EK: Sequence[Sequence[str]], levels_EK: npt.NDArray[np.integer]) -> Messages:
    """Asks for an explanation of examples with their levels (Bills et al. 2023)."""
    examples = [
        "\n".join(f"{level}\t{quoted(token)}" for token, level in zip(tokens, levels, strict=True))
        for tokens, levels in zip(texts_EK, levels_EK.tolist(), strict=True)
    ]
    return _filled("explain", {"examples": "\n\n".join(examples)})


def simulate(explanation: str, tokens: Sequence[str]) -> Messages:
    """Asks for the level of every token of a window, all at once.

    Bills et al. 2023, "Language models can explain neurons in language models", simulate neurons
    so; Bricken et al. 2023, "Towards Monosemanticity", features of dictionaries.
    """
    lines = [f"{number}\t{quoted(token)}" for number, token in enumerate(tokens, 1)]
    values = {"tokens": "\n".join(lines), "count": str(len(lines))}
    return _filled("simulate", {"explanation": quoted(explanation), **values})


def detect(explanation: str, windows: Sequence[Sequence[str]]) -> Messages:
    """Asks in which of the windows the feature fires (Paulo et al. 2024, arXiv 2410.13928)."""
    return _listed("detect", explanation, [quoted("".join(window)) for window in windows])


def fuzz(
    explanation: str,
    windows: Sequence[Sequence[str]],
    marks: Sequence[npt.NDArray[np.bool_]],
) -> Messages:
    """Asks in which of the windows the marks are right (Paulo et al. 2024, arXiv 2410.13928)."""
    return _listed("fuzz", explanation, list(map(marked, windows, marks)))


def marked(tokens: Sequence[str], marks_K: npt.NDArray[np.bool_]) -> str:
    """The text as a JSON string with each run of marked tokens between ⟪ and ⟫."""
    parts: list[str] = []
    before = False
    for token, mark in zip(tokens, marks_K.tolist(), strict=True):
        if mark != before:
            parts.append("⟪" if mark else "⟫")
        parts.append(quoted(token)[1:-1])
        before = mark
    return f'"{"".join(parts)}{"⟫" if before else ""}"'


def _listed(name: str, explanation: str, texts: Sequence[str]) -> Messages:
    lines = [f"{number}\t{text}" for number, text in enumerate(texts, 1)]
    values = {"texts": "\n".join(lines), "count": str(len(lines))}
    return _filled(name, {"explanation": quoted(explanation), **values})


def _filled(name: str, values: Mapping[str, str]) -> Messages:
    system, user = _parts(name)
    return [
        {"role": "system", "content": system},
        {"role": "user", "content": user.substitute(values)},
    ]


@cache
def _parts(name: str) -> tuple[str, Template]:
    system, _, user = (DIRECTORY / f"{name}.txt").read_text(encoding="utf-8").partition(RULE)
    return system.strip(), Template(user.strip())
