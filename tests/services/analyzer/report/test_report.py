"""The report stage: page, tables and pictures say what results.json says, and nothing else."""

from __future__ import annotations

import csv
import json
import re
import struct
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from services.analyzer.report.stage import run
from tests.support.report.inputs import EVERYTHING, HOSTILE, Family, build
from tests.support.stages import run_stage

PICTURES = {
    "figure1_lineage.png",
    "figure2_flow.png",
    "figure3_universal.png",
    "figure4_disappears.png",
    "figure5_sweep.png",
    "figure6_explanations.png",
    "correlations.png",
    "crosscoder.png",
    "curve.png",
    "merges.png",
    "stability.png",
    "training.png",
    "dictionaries.png",
}


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


def make(directory: Path, family: Family | None = None) -> Path:
    """Run the stage on a family; returns the directory with its files."""
    (directory / "inputs").mkdir(parents=True)
    parameters, inputs = build(directory / "inputs", family)
    return run_stage(run, parameters, inputs, directory)[0]


def numbers_in(value: Any) -> Iterator[float]:
    """Every number of a JSON value."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("report"), Family(token=HOSTILE, **EVERYTHING))


@pytest.fixture(scope="module")
def results(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "results.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def page(output: Path) -> Page:
    return Page((output / "report.html").read_text("utf-8"))


def test_page_tables_and_pictures_are_written(output: Path) -> None:
    assert (output / "report.html").stat().st_size > 4_000_000
    assert {path.name for path in (output / "png").iterdir()} == PICTURES
    tables = {path.name for path in (output / "csv").iterdir()}
    assert {"models.csv", "sweeps.csv", "dictionaries.csv", "edges.csv"} <= tables
    assert {"universal.csv", "labels.csv", "features_base.csv", "features_lua.csv"} <= tables


def test_the_page_loads_nothing_from_elsewhere(page: Page, output: Path) -> None:
    for tag, attributes in page.elements:
        assert "src" not in attributes
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        href = attributes.get("href")
        assert href is None or href.startswith("#")
    text = (output / "report.html").read_text("utf-8")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "@import" not in style
    assert "url(" not in style
    policies = [attributes for tag, attributes in page.elements if tag == "meta"]
    policy = next(one["content"] for one in policies if "http-equiv" in one)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


def test_links_within_the_page_lead_somewhere(page: Page) -> None:
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in page.elements:
        if attributes.get("href"):
            assert (attributes["href"] or "")[1:] in names


def test_text_of_a_corpus_is_shown_and_never_executed(page: Page, output: Path) -> None:
    text = (output / "report.html").read_text("utf-8")
    assert HOSTILE not in text
    assert any(HOSTILE in word for word in "".join(page.words).splitlines())
    plots = sum(1 for _, attributes in page.elements if attributes.get("class") == "plot")
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert sum(one.get("type") == "application/json" for one in scripts) == plots + 1
    assert len(scripts) == plots + 3  # and Plotly, and our own


def test_numbers_on_the_page_are_exactly_those_of_results_json(
    page: Page, results: dict[str, Any]
) -> None:
    known = {json.dumps(value) for value in numbers_in(results)}
    assert len(page.numbers) > 150
    for exact, written, scale in page.numbers:
        assert exact in known
        assert agrees(float(exact), written, scale), (exact, written)


def agrees(exact: float, written: str, written_in: float | None = None) -> bool:
    """Whether a written number is the exact one, rounded to the digits that it shows.

    `written_in` is the unit of a number without one beside it: .01 for per cent.
    """
    units = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "%": 0.01}
    digits, _, unit = written.replace(",", "").partition("\u00a0")
    scale = units[unit] if unit else written_in or 1.0
    decimals = len(digits.partition(".")[2])
    return abs(exact / scale - float(digits)) <= 0.5 * 10**-decimals * (1 + 1e-9)


def test_a_wrong_number_would_be_noticed() -> None:
    assert agrees(0.4428, "44.3\u00a0%")
    assert not agrees(0.4428, "44.4\u00a0%")
    assert agrees(35_131_904, "35.1\u00a0M")
    assert not agrees(1234, "1,235")
    assert agrees(0.361, "36.1", 0.01)
    assert not agrees(0.361, "36.1")


def test_the_page_carries_results_json_unchanged(page: Page, results: dict[str, Any]) -> None:
    assert json.loads(page.scripts["results"]) == results


def test_every_figure_has_a_place_and_a_description(page: Page) -> None:
    places = {
        attributes["id"]: attributes
        for _, attributes in page.elements
        if attributes.get("class") == "plot"
    }
    figures = [
        attributes.get("data-figure") for tag, attributes in page.elements if tag == "script"
    ]
    assert sorted(places) == sorted(name for name in figures if name)
    for name, attributes in places.items():
        assert len(attributes["aria-label"] or "") > 10
        assert json.loads(page.scripts[name])["data"]


def test_every_table_has_a_caption(page: Page) -> None:
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption") >= 7


def test_the_summary_says_shares_with_intervals_and_both_controls(
    page: Page, results: dict[str, Any]
) -> None:
    words = re.sub(r"\s+", " ", "".join(page.words))
    edge = next(one for one in results["edges"] if (one["parent"], one["child"]) == ("base", "lua"))

    def per_cent(values: list[float]) -> str:
        return f"[{100 * values[0]:.1f}, {100 * values[1]:.1f}]"

    low, high = edge["adjusted_interval"]
    assert (
        f"{100 * edge['share']:.1f} % {per_cent(edge['interval'])} of the {edge['alive_parent']} "
        "live features of base persist in lua; two dictionaries of base itself share "
        f"{100 * edge['ceiling']:.1f} % {per_cent(edge['ceiling_interval'])}, chance gives "
        f"{100 * edge['null']:.1f} %: adjusted {edge['adjusted']:.2f} [{low:.2f}, {high:.2f}]."
    ) in words.replace("\u00a0", " ")
    assert "live features of the merge luastories" in words
    assert "dictionaries tried in grid, the one to use has 512 features at k = 8" in words
    assert "the accuracies on stories and lua cross at" in words
    assert "it names its parents the other way round" in words


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    def files(directory: Path) -> dict[str, bytes]:
        (directory / "inputs").mkdir(parents=True)
        parameters, inputs = build(directory / "inputs")
        if directory.name == "two":
            parameters = json.loads(json.dumps(parameters, sort_keys=True))
            inputs = dict(reversed(inputs.items()))
        made = run_stage(run, parameters, inputs, directory)[0]
        return {
            str(path.relative_to(made)): path.read_bytes()
            for path in made.rglob("*")
            if path.is_file()
        }

    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []


def test_pictures_carry_no_date_and_no_program(output: Path) -> None:
    for path in (output / "png").iterdir():
        assert set(chunks(path.read_bytes())) <= {"IHDR", "pHYs", "IDAT", "IEND"}


def chunks(data: bytes) -> Iterator[str]:
    """Types of the chunks of a PNG."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place_ = 8
    while place_ < len(data):
        (length,) = struct.unpack(">I", data[place_ : place_ + 4])
        yield data[place_ + 4 : place_ + 8].decode("ascii")
        place_ += 12 + length


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_hold_the_numbers_of_results_json(output: Path, results: dict[str, Any]) -> None:
    for row, edge in zip(rows_of(output / "csv" / "edges.csv"), results["edges"], strict=True):
        assert float(row["share"]) == edge["share"]
        assert int(row["emerge"]) == edge["emerge"]
        assert float(row["adjusted"]) == edge["adjusted"]
        assert float(row["adjusted_interval_low"]) == edge["adjusted_interval"][0]
    curve = rows_of(output / "csv" / "curve.csv")
    assert len(curve) == 10 * (len(results["edges"]) + len(results["ancestors"]))
    stability = rows_of(output / "csv" / "stability.csv")
    assert [row["recommended"] for row in stability].index("1") == 0
    merge = rows_of(output / "csv" / "merges.csv")[0]
    assert (merge["at_zero"], merge["at_one"]) == ("lua", "stories")
    sweeps = rows_of(output / "csv" / "sweeps.csv")
    assert len(sweeps) == 2 * len(results["sweeps"]["stories-to-lua"]["points"])
    assert float(sweeps[0]["t"]) == 0.0
    assert float(sweeps[-1]["t"]) == 1.0
    models = rows_of(output / "csv" / "models.csv")
    assert len(models) == 3 * (len(results["models"]) + 1)


def test_the_fates_of_features_add_up_to_the_counts_of_the_edge(
    output: Path, results: dict[str, Any]
) -> None:
    for edge in results["edges"]:
        leaving = ("persist", "split", "merge", "disappear")
        arriving = ("persist", "split_child", "merge_child", "emerge")
        for side, other, names in (("parent", "child", leaving), ("child", "parent", arriving)):
            fates = [
                row["status"]
                for row in rows_of(output / "csv" / f"features_{edge[side]}.csv")
                if row["side"] == side and row["other"] == edge[other]
            ]
            for name in names:
                assert fates.count(name.removesuffix("_child")) == edge[name]
            live = len(fates) - fates.count("rare")
            assert live == sum(edge[name] for name in names) == edge[f"alive_{side}"]
