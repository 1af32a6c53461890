"""Every file of the folder is a figure of the page and a picture, where it has data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from matplotlib.figure import Figure as Sheet

from services.analyzer.report.figures.registry import figures
from services.analyzer.report.images import write
from services.analyzer.report.page.page import TEMPLATES
from services.analyzer.report.page.panels import panels
from tests.services.analyzer.report.results.test_results import results_of
from tests.support.report.inputs import ALONE, Family, build

WHOLE = {"figure1_lineage"}  # is there for every family


def test_the_paper_s_six_figures_are_found_by_their_numbers() -> None:
    numbered = [name for name in figures() if name.startswith("figure")]
    assert [name.partition("_")[0] for name in numbered] == [f"figure{n}" for n in range(1, 7)]
    assert list(figures())[:6] == numbered


@pytest.mark.parametrize("name", figures())
def test_a_figure_stands_on_the_page_and_is_a_picture(name: str, results: dict[str, Any]) -> None:
    figure = figures()[name]
    found = {key: part for key, part in figure.parts(results).items() if part}
    assert found
    with matplotlib.rc_context():
        for place, (key, part) in enumerate(found.items()):
            assert all(panel.figure.data for panel in figure.panels(key, part, place))
            assert figure.panels(key, part, place)
            assert isinstance(figure.picture(key, part), Sheet)


@pytest.mark.parametrize("name", figures())
def test_a_template_places_the_figure(name: str) -> None:
    text = "".join(path.read_text("utf-8") for path in TEMPLATES.glob("*.html"))
    placed = set(re.findall(r'panels\.of\("(\w+)"', text))
    assert name in placed
    assert placed <= set(figures())


def test_a_figure_without_data_is_left_out(tmp_path: Path) -> None:
    family = Family(models=ALONE, trackings=(), sweep=False, dictionaries=False)
    results = results_of(*build(tmp_path, family))
    found = panels(results)
    assert {name for name in figures() if any(found.by_figure[name].values())} == WHOLE
    assert [found.of(name, "main") for name in figures()] == [()] * len(figures())
    write(results, tmp_path / "png")
    assert {path.stem for path in (tmp_path / "png").iterdir()} == WHOLE


def test_a_figure_of_a_second_tracking_has_a_file_of_its_own(tmp_path: Path) -> None:
    family = Family(trackings=("main", "the second"), sweep=False)
    write(results_of(*build(tmp_path, family)), tmp_path / "png")
    names = {path.stem for path in (tmp_path / "png").iterdir()}
    assert {"curve", "curve_the_second", "figure2_flow", "figure2_flow_the_second"} <= names


def test_ids_on_the_page_differ(results: dict[str, Any]) -> None:
    ids = [panel.id for panel in panels(results).all()]
    assert len(ids) == len(set(ids))


def test_a_template_cannot_place_a_figure_that_is_not_there(results: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        panels(results).of("figure7")
