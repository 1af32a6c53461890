"""A report of a family that has everything, made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.report.inputs import EVERYTHING, HOSTILE, Family
from tests.support.report.output import Page, make, results_in


@pytest.fixture(scope="session")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the report; text of a corpus in it tries to run as a script."""
    return make(tmp_path_factory.mktemp("report"), Family(token=HOSTILE, **EVERYTHING))


@pytest.fixture(scope="session")
def results(output: Path) -> dict[str, Any]:
    """Its results.json."""
    return results_in(output)


@pytest.fixture(scope="session")
def page(output: Path) -> Page:
    """Its report.html."""
    return Page((output / "report.html").read_text("utf-8"))
