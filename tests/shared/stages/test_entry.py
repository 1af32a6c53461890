"""Stages are found by the rule alone, in any package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.stages.entry import home, stage_function, stage_modules

RUN = "def run(stage):\n    return {name!r}\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package with one service: a stage as a module, one in a folder, one named `import`."""
    service = tmp_path / "made_up" / "shop"
    for name in ("plain.py", "deep/stage.py", "import_model.py", "ground/shelf.py"):
        place = service / name
        place.parent.mkdir(parents=True, exist_ok=True)
        (place.parent / "__init__.py").touch()
        place.write_text(RUN.format(name=name))
    (tmp_path / "made_up" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield "made_up"
    for name in [name for name in sys.modules if name.partition(".")[0] == "made_up"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("kind", "file"),
    [("plain", "plain.py"), ("deep", "deep/stage.py"), ("import", "import_model.py")],
)
def test_a_kind_is_found_by_its_name(package: str, kind: str, file: str) -> None:
    assert stage_function(package, "shop", kind)(None) == file  # type: ignore[arg-type,func-returns-value]


def test_a_kind_without_code_is_refused(package: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        stage_function(package, "shop", "missing")


def test_the_modules_of_a_service_leave_folders_out_that_hold_no_stage(package: str) -> None:
    assert list(stage_modules(package, "shop")) == [
        f"{package}.shop.{name}" for name in ("deep.stage", "import_model", "plain")
    ]


def test_only_words_of_python_are_spelled_otherwise() -> None:
    assert (home("import"), home("match"), home("train")) == ("import_model", "match", "train")
