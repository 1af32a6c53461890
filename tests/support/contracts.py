"""Names that a stage kind declares, held against those that there are."""

from __future__ import annotations

import re
from collections.abc import Iterable

from shared.stages.base import Kind

# What a {word} of a declared name stands for; any other is a name of the user's.
WORDS = {
    "replicate": r"\d+",
    "cell": r"\d+",
    "step": r"\d{8}",
    "method": "(?:rule|language_model)",
}


def mistakes(declared: Iterable[str], found: Iterable[str]) -> list[str]:
    """What is declared and missing, what is there and not declared, and gaps between numbers."""
    rest, wrong = set(found), []
    for name in declared:
        optional = name.endswith("?") or "{" in name
        matches = {one: match for one in rest if (match := pattern(name).fullmatch(one))}
        if not matches and not optional:
            wrong.append(f"{name} is missing")
        if "*" in name and not name.endswith("/"):
            numbers = sorted(int(match[1]) for match in matches.values())
            if numbers != list(range(len(numbers))):
                wrong.append(f"{name} has the numbers {numbers}")
        rest -= set(matches)
    return wrong + [f"{one} is not declared" for one in sorted(rest)]


def pattern(declared: str) -> re.Pattern[str]:
    """What a declared name stands for (see Kind); one that ends with / for all that lies below."""
    name = declared.removesuffix("?")
    whole = "".join(
        r"(\d+)" if part == "*" else WORDS.get(part[1:-1], "[^/]+") if part[:1] == "{"
        else re.escape(part)
        for part in re.split(r"(\*|{\w+})", name)
    )  # fmt: skip
    return re.compile(whole + (".+" if name.endswith("/") else ""))


def broken(kind: Kind, inputs: Iterable[str], files: Iterable[str], results: Iterable[str]) -> str:
    """How an artifact breaks the contract of its kind, one line each; empty if it does not."""
    wrong = [
        *mistakes(kind.inputs, inputs), *mistakes(kind.files, files),
        *mistakes(kind.results, results),
    ]  # fmt: skip
    return "\n".join(f"{kind.name}: {one}" for one in wrong)
