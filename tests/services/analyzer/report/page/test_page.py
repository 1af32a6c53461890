"""The page says what results.json says, loads nothing, and runs no text that it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.analyzer.report.page.page import evaluation_rows, shaded
from tests.services.analyzer.report.results.test_results import results_of
from tests.support.report.inputs import HOSTILE, build
from tests.support.report.output import Page


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


def numbers_in(value: Any) -> Iterator[float]:
    """Every number of a JSON value."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


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
    assert "dictionaries tried in grid, the recommended one has 512 features at k = 8" in words
    assert "the accuracies on stories and lua cross at" in words
    assert "the spec names its parents the other way round" in words


def test_tokens_are_escaped_and_shaded_by_activation() -> None:
    text = str(shaded(["<b>", " x", "\n"], [2.0, 0.0, 1.0], 4.0))
    assert '<mark style="--a:0.500" title="2.0">&lt;b&gt;</mark> x' in text
    assert "↵\n</mark>" in text
    assert str(shaded(["a"], [0.0], 0.0)) == "a"


def test_shades_of_the_evaluation_go_from_worst_to_best(tmp_path: Path) -> None:
    rows = evaluation_rows(results_of(*build(tmp_path)))
    assert [(row["name"], row["untrained"]) for row in rows][:2] == [
        ("base", True),
        ("base", False),
    ]
    for column in range(3):
        cells = [row["cells"][column] for row in rows]
        best = min(cells, key=lambda cell: cell["loss"])
        assert best["best"]
        assert best["strength"] == 1.0
        assert cells[0]["strength"] == 0.0
