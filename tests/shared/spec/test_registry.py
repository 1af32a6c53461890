"""Registries: what a folder declares is what there is, and names and code cannot differ."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shared.spec.builtins import BUILTINS
from shared.spec.merges import METHODS
from shared.spec.registry import (
    Declaration,
    RegistryError,
    check_files,
    declared,
    defined,
    implementations,
    prose,
)
from shared.spec.variants import VARIANTS

DECLARATION = """
from shared.spec.registry import Declaration
ENTRY = Declaration(name="{name}", summary="the entry {name}")
"""
CODE = "def work():\n    return {name!r}\n"
ROOT = Path(__file__).parents[3]
DOORS = [
    ("variants", VARIANTS, "services/sae/variants"),
    ("merges", METHODS, "services/merger/methods"),
    ("builtins", BUILTINS, "services/trainer/corpus/builtin"),
]
numbers = itertools.count()

Package = Callable[[Mapping[str, str]], tuple[str, list[str]]]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Makes a package out of files' texts; returns its name and its path."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(files: Mapping[str, str]) -> tuple[str, list[str]]:
        name = f"registry_of_a_test_{next(numbers)}"
        (tmp_path / name).mkdir()
        for file, text in {"__init__": "", "base": "", **files}.items():
            (tmp_path / name / f"{file}.py").write_text(text)
        return name, [str(tmp_path / name)]

    return make


def entries(*names: str) -> dict[str, Declaration]:
    return {name: Declaration(name=name, summary=f"the entry {name}") for name in names}


def load(package: tuple[str, list[str]], *names: str) -> dict[str, Callable[[], str]]:
    return implementations(entries(*names), *package, lambda module: defined(module, "work"))


def test_a_folder_is_read_in_the_order_of_the_alphabet_with_the_default_first(
    package: Package,
) -> None:
    texts = {name: DECLARATION.format(name=name.replace("_", "-")) for name in ("c", "a_b", "d")}
    found = declared(*package(texts), Declaration, first="d")
    assert [*found] == ["d", "a-b", "c"]
    assert prose(found) == "d: the entry d; a-b: the entry a-b; c: the entry c"


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a": "", "b": DECLARATION.format(name="b")}, r"\.a must declare one entry, not 0"),
        ({"a": DECLARATION.format(name="b")}, r"\.a declares b; rename one of them"),
        ({"a": DECLARATION.format(name="a")}, "has no b, which is the default"),
    ],
)
def test_a_malformed_folder_of_declarations_is_refused(
    package: Package, files: dict[str, str], sentence: str
) -> None:
    with pytest.raises(RegistryError, match=sentence):
        declared(*package(files), Declaration, first="b")


def test_every_name_gets_the_code_of_its_own_file_and_helpers_are_passed_over(
    package: Package,
) -> None:
    here = package({"a_b": CODE.format(name="a-b"), "c": CODE.format(name="c"), "helper": "X = 1"})
    found = load(here, "c", "a-b")
    assert [(name, work()) for name, work in found.items()] == [("c", "c"), ("a-b", "a-b")]


def test_what_a_module_imports_is_not_its_code(package: Package) -> None:
    name, path = package({"a": CODE.format(name="a"), "b": ""})
    (Path(path[0]) / "b.py").write_text(f"from {name}.a import work\n")
    with pytest.raises(RegistryError, match=r"\.b must define one entry, not 0"):
        load((name, path), "a", "b")


def test_a_declaration_without_code_is_refused_by_name(package: Package) -> None:
    here = package({"a": CODE.format(name="a")})
    with pytest.raises(RegistryError, match=f"b is declared but has no code: {here[0]} has no mod"):
        load(here, "a", "b")
    with pytest.raises(RegistryError, match=f"b is declared but has no code: {here[0]} has no mod"):
        check_files(entries("a", "b"), *here)


def test_code_without_a_declaration_is_refused_by_its_module(package: Package) -> None:
    here = package({"a": CODE.format(name="a"), "b": CODE.format(name="b")})
    with pytest.raises(RegistryError, match=r"\.b has the code of an entry that nobody declares"):
        load(here, "a")


def test_files_are_checked_without_importing_them(package: Package) -> None:
    name, path = package({"a": "raise AssertionError"})
    check_files(entries("a"), name, path)
    assert f"{name}.a" not in sys.modules


@pytest.mark.parametrize(("folder", "declarations", "_code"), DOORS)
def test_a_folder_of_declarations_holds_these_and_their_base(
    folder: str, declarations: Mapping[str, Declaration], _code: str
) -> None:
    files = {path.stem for path in (ROOT / "shared/spec" / folder).glob("*.py")}
    assert files == {one.module for one in declarations.values()} | {"__init__", "base"}


@pytest.mark.parametrize(("_folder", "declarations", "code"), DOORS)
def test_every_declaration_has_one_file_of_code(
    _folder: str, declarations: Mapping[str, Declaration], code: str
) -> None:
    per_edge = {name for name, one in VARIANTS.items() if one.per == "edge"}
    for name, one in declarations.items():
        stage = ROOT / "services/sae" / one.module / "stage.py"
        assert (stage if name in per_edge else ROOT / code / f"{one.module}.py").exists()


def test_the_services_have_the_code_that_the_specs_choices_promise() -> None:
    from services.merger.methods import COMBINE
    from services.sae.variants import DECLARED
    from services.sae.variants import VARIANTS as CLASSES
    from services.trainer.corpus.builtin import GENERATORS

    assert [*COMBINE] == [*METHODS]
    assert [*GENERATORS] == [*BUILTINS]
    assert [*CLASSES] == [*DECLARED] == [name for name, v in VARIANTS.items() if v.per == "model"]
