"""The table of stage kinds agrees with the files of the services, and is the only list."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import get_type_hints

import pytest
from pydantic import BaseModel

from shared.queue.broker import make_app
from shared.settings import Settings
from shared.stages import base
from shared.stages.__main__ import PLACE, page
from shared.stages.entry import home, stage_function, stage_modules
from shared.stages.kinds import KINDS, MODULES, SERVICES
from shared.stages.stage import Stage

ROOT = Path(__file__).parents[3]
# Kinds whose names mean nothing else.
UNMISTAKABLE = {
    "dictionary_set", "dictionary_member", "import_dictionary", "evaluate_dictionary",
    "latent_scaling", "explain_edge",
}  # fmt: skip


def files(service: str) -> dict[str, Path]:
    """Modules of a service with a function `run` for a stage, by the name of module or folder."""
    folder = ROOT / "services" / service
    places = {path.stem: path for path in folder.glob("*.py")}
    places |= {path.parent.name: path for path in folder.glob("*/stage.py")}
    return {name: path for name, path in places.items() if runs(path)}


def runs(path: Path) -> bool:
    """Whether the module defines run(stage)."""
    return any(
        isinstance(node, ast.FunctionDef)
        and node.name == "run"
        and [argument.arg for argument in node.args.args] == ["stage"]
        for node in ast.parse(path.read_text()).body
    )


def strings(path: Path) -> Iterator[str]:
    """String constants of a module, docstrings and pieces of f-strings among them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def collections(path: Path) -> Iterator[tuple[int, set[str]]]:
    """Line and string constants of every dict (its keys), list, tuple and set of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set):
            parts = node.keys if isinstance(node, ast.Dict) else node.elts
            yield node.lineno, {one.value for one in parts if isinstance(one, ast.Constant)}


# --------------------------------------------------------------------------- table and files


@pytest.mark.parametrize("service", SERVICES)
def test_every_kind_has_one_file_and_every_file_one_kind(service: str) -> None:
    expected = {home(kind.name) for kind in KINDS.values() if kind.service == service}
    assert set(files(service)) == expected
    folder = ROOT / "services" / service
    for name in expected:
        assert not ((folder / f"{name}.py").exists() and (folder / name).exists()), name


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_the_rule_finds_a_kinds_function(kind: base.Kind) -> None:
    function = stage_function("services", kind.service, kind.name)
    assert function.__module__ in set(stage_modules("services", kind.service))
    assert Path(inspect.getfile(function)) == files(kind.service)[home(kind.name)]
    assert get_type_hints(function) == {"stage": Stage, "return": NoneType}


def test_services_of_the_table_are_the_folders_and_the_queues() -> None:
    folders = {path.parent.name for path in (ROOT / "services").glob("*/__init__.py")}
    assert folders == set(SERVICES)
    queues = make_app(Settings(redis_url="redis://nowhere")).conf.task_queues
    assert tuple(queue.name for queue in queues) == SERVICES


def test_every_kind_is_declared_once() -> None:
    declared = [
        value.name
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, base.Kind)
    ]
    assert declared == list(KINDS)
    modules = {path.stem for path in (ROOT / "shared" / "stages").glob("*.py")}
    declaring = {
        name for name in modules if "= Kind(" in (ROOT / f"shared/stages/{name}.py").read_text()
    }
    assert declaring == {module.__name__.rpartition(".")[2] for module in MODULES}


def test_a_kinds_name_stands_in_its_declaration_and_where_it_is_planned() -> None:
    assert set(KINDS) > UNMISTAKABLE
    named = {
        path.relative_to(ROOT).as_posix(): found
        for top in ("api", "services", "shared")
        for path in (ROOT / top).rglob("*.py")
        if (found := UNMISTAKABLE & set(strings(path)))
    }
    declared = [
        name for path, found in named.items() if path.startswith("shared/stages/") for name in found
    ]
    assert sorted(declared) == sorted(UNMISTAKABLE)
    elsewhere = [path for path in named if not path.startswith(("shared/stages/", "shared/plan/"))]
    assert elsewhere == []


def test_no_module_lists_kinds_or_services_again() -> None:
    """Names that are common words may stand anywhere; many of them together are a list."""
    for top in ("api", "services", "shared"):
        for path in (ROOT / top).rglob("*.py"):
            place = path.relative_to(ROOT).as_posix()
            for line, words in collections(path):
                planning = place.startswith(("shared/stages/", "shared/plan/"))
                assert planning or len(words & set(KINDS)) < 5, f"{place}:{line}"
                assert not words >= set(SERVICES), f"{place}:{line}"


# --------------------------------------------------------------------------------- contracts


def models(kind: base.Kind) -> set[type[BaseModel]]:
    """The parameters of a kind and the models that they are made of."""
    module = inspect.getmodule(kind.parameters)
    return {
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, base.Parameters)
    } - {base.Parameters}


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_part_of_a_contract_has_a_line(kind: base.Kind) -> None:
    lines = [
        kind.does, *kind.inputs.values(), *kind.results.values(), *kind.terms.values(),
        *(file.about for file in kind.files.values()),
        *(line for file in kind.files.values() for line in file.parts.values()),
    ]  # fmt: skip
    assert all(line and "\n" not in line for line in lines)
    assert kind.files or kind.results
    for model in models(kind):
        tags = ("source", "how")  # which of several models it is
        untold = [
            name
            for name, field in model.model_fields.items()
            if not field.description and name not in tags
        ]
        assert untold == [], model.__name__


def test_the_page_about_stages_is_current() -> None:
    assert PLACE.read_text(encoding="utf-8") == page(), "run python -m shared.stages"
