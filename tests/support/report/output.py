"""Runs the report stage on a family, and reads what it writes."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from services.analyzer.report.stage import run
from tests.support.report.inputs import Family, build
from tests.support.stages import run_stage


def make(directory: Path, family: Family | None = None) -> Path:
    """Run the stage on a family; returns the directory with its files."""
    (directory / "inputs").mkdir(parents=True)
    parameters, inputs = build(directory / "inputs", family)
    return run_stage(run, parameters, inputs, directory)[0]


def results_in(output: Path) -> dict[str, Any]:
    """The content of results.json."""
    found: dict[str, Any] = json.loads((output / "results.json").read_text("utf-8"))
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Page(HTMLParser):
    """What a browser would find: elements with attributes, and the content of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.numbers: list[tuple[str, str, float | None]] = []
        self.scripts: dict[str, str] = {}
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        attributes = self.elements[-1][1] if self.elements else {}
        if inside == "script":
            name = attributes.get("id") or attributes.get("data-figure") or ""
            self.scripts[name] = self.scripts.get(name, "") + data
        elif inside == "data":
            scale = attributes.get("data-scale")
            exact = attributes["value"] or ""
            self.numbers.append((exact, data, 1 / float(scale) if scale else None))
        if inside not in ("script", "style"):
            self.words.append(data)


def words_on(output: Path) -> str:
    """All words of the page, with single spaces between."""
    page = Page((output / "report.html").read_text("utf-8"))
    return re.sub(r"\s+", " ", "".join(page.words)).replace("\u00a0", " ")
