"""What the tests of observability/ share: its files, the names in them, and promtool."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

PLACE = Path(__file__).parents[2] / "observability"
PROMETHEUS = PLACE / "prometheus"
DASHBOARDS = PLACE / "grafana" / "dashboards"
NAME = re.compile(r"\b(?:lineament|process|DCGM|minio|redis|kubelet)_\w+|\bup\b|\bALERTS\b")
SUFFIX = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True)
class Expression:
    """A query of a panel."""

    board: str
    panel: str
    text: str

    @property
    def names(self) -> set[str]:
        """Metrics that it asks for."""
        return set(NAME.findall(self.text))

    @property
    def ours(self) -> bool:
        """False when another program exports what it asks for."""
        return all(re.match("lineament_|process_|up$|ALERTS$", name) for name in self.names)

    def over(self, window: str) -> str:
        """The expression with Grafana's window filled in."""
        return self.text.replace("$__rate_interval", window)


def last_values(result: list[dict[str, Any]]) -> tuple[float, ...]:
    """The last number of each series of a range query; what is no number does not count."""
    last: list[float] = []
    for series in result:
        numbers = [float(value) for _, value in series["values"]]
        last += [number for number in numbers if not math.isnan(number)][-1:]
    return tuple(last)


def table(found: list[tuple[Expression, tuple[float, ...]]]) -> Iterator[str]:
    """Lines of a table of what the panels' queries gave."""
    yield "| dashboard | panel | series | last value of one |"
    yield "|---|---|---|---|"
    for one, values in found:
        value = f"{values[0]:.4g}" if values else "-"
        absent = "" if one.ours else " (of another exporter)"
        yield f"| {one.board} | {one.panel}{absent} | {len(values)} | {value} |"


def expressions() -> list[Expression]:
    """Every query of every dashboard."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                found.append(Expression(path.stem, panel["title"], target["expr"]))
    return found


def alerts() -> Iterator[dict[str, Any]]:
    """Every alert rule."""
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of the metrics that METRICS.md lists for our processes, by name."""
    text = (PLACE / "METRICS.md").read_text().partition("## From others")[0]
    found = {}
    for line in text.splitlines():
        if line.startswith("| `lineament_"):
            name, kind, labels, _ = (cell.strip() for cell in line.strip("|").split(" | "))
            found[name.strip("`")] = (kind, set() if labels == "-" else set(labels.split(", ")))
    return found


def of_others() -> set[str]:
    """Names that METRICS.md expects of other exporters."""
    text = (PLACE / "METRICS.md").read_text().partition("## From others")[2]
    return set(NAME.findall(text))


def binary(name: str) -> str:
    """A program of Debian's package prometheus; the test skips without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian's package prometheus has it)")
    return found


def promtool(*arguments: object) -> None:
    """Run promtool; the test fails with what it says."""
    done = subprocess.run(
        [binary("promtool"), *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
