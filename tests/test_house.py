"""The tree itself: sizes of files, functions and folders, and names that mean one thing.

CONTRIBUTING.md has the rules. Where one of these tests fails, split the file, function or folder:
do not raise the number.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CODE = ("api", "services", "shared", "bench", "observability/dashboards", "compose", "k8s")
SOURCES = {".py", ".html", ".js", ".css", ".txt"}
MOST_LINES = 400  # of a file
MOST_LINES_OF_A_FUNCTION = 50
MOST_COLUMNS = 120  # of a template, a script or a style sheet; ruff has Python's
MOST_FILES = 16  # of a folder
# One file each for things of which there are many.
COLLECTIONS = {"services/analyzer/report/figures": 22, "services/trainer/corpus/builtin": 22}

# An entry of a registry has two files of one name: what a spec may ask of it, and its code.
DECLARATIONS = ("shared/spec/variants/", "shared/spec/merges/", "shared/spec/builtins/")

# Basenames that several files have, with the one thing that all of them are about.
SHARED_NAMES = {
    "app": "what a process serves: the FastAPI or the Celery application",
    "artifacts": "artifacts in the store",
    "base": "what everything else in the folder builds on",
    "chains": "chains of matches along a lineage, and what merges inherit",
    "corpora": "corpora: what a spec says of them, what users upload",
    "correlate": "Pearson's r of all pairs of features",
    "crosscoders": "crosscoders: what is said about them, and where it is served",
    "dictionaries": "the dictionaries of an experiment",
    "dictionary": "one dictionary: the object, and the stage that trains it",
    "edge": "one edge of a lineage",
    "edges": "all edges of a lineage",
    "examples": "the features that the figures show",
    "experiments": "experiments, as they are stored and as they are served",
    "explain": "the section `explain` of a spec and its stages",
    "explanations": "explanations of features",
    "family": "the family of models that a spec describes",
    "features": "features of one model",
    "follow": "following an experiment while it runs",
    "garbage": "collecting what the store holds and nobody needs",
    "harvest": "harvesting activations",
    "loop": "a training loop",
    "merge": "merging two models",
    "models": "the models of a family",
    "panels": "panels: figures in their place on a page or a dashboard",
    "reconciler": "the reconciler, and its metrics",
    "registry": "a folder whose files declare themselves",
    "report": "the stage `report` and its parameters",
    "results": "results.json",
    "resume": "the state from which training goes on with the same bits",
    "rule": "a rule over tokens that explains a feature",
    "shares": "shares of features that persist",
    "stability": "the section `stability` of a spec: a grid of dictionaries",
    "stage": "a stage: the function that computes one, and what it sees",
    "store": "the object store's metrics",
    "sweeps": "merge sweeps, as they are reported and served",
    "tracking": "the section `tracking` of a spec and its stages",
    "training": "curves of training, in the report and on a dashboard",
    "uploads": "uploaded files: what is known of them, where they are stored",
    "weights": "weights of a dictionary",
}


def files(*endings: str) -> Iterator[Path]:
    """Source files outside of tests, by their ending."""
    for top in CODE:
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in endings and "__pycache__" not in path.parts:
                yield path


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_file_is_longer_than_a_reader_can_keep_in_mind() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in files(*SOURCES)}
    assert len(lengths) > 300  # the test looks at what there is
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    long = {}
    for path in files(".py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long[f"{named(path)}: {node.name}"] = lines
    assert long == {}


def test_no_line_of_a_template_is_wider_than_an_editor() -> None:
    wide = {
        f"{named(path)}:{number}": len(line)
        for path in files(".html", ".js", ".css")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > MOST_COLUMNS
    }
    assert wide == {}


def test_no_folder_holds_more_than_can_be_seen_at_a_glance() -> None:
    folders: dict[str, int] = defaultdict(int)
    tests = (
        path for path in (ROOT / "tests").rglob("*") if path.suffix in {".py", ".yaml", ".toml"}
    )
    for path in (*files(*SOURCES), *tests):
        folders[named(path.parent)] += path.name != "__init__.py"
    crowded = {
        name: count for name, count in folders.items() if count > COLLECTIONS.get(name, MOST_FILES)
    }
    assert crowded == {}


def repeated() -> dict[str, list[str]]:
    """Basenames of several source files, with these files."""
    places = defaultdict(list)
    for path in files(".py"):
        declares = path.stem != "base" and named(path).startswith(DECLARATIONS)
        if not path.stem.startswith("__") and not declares:
            places[path.stem].append(named(path))
    return {name: where for name, where in places.items() if len(where) > 1}


def test_files_of_one_name_are_about_one_thing() -> None:
    unexplained = {n: where for n, where in repeated().items() if n not in SHARED_NAMES}
    assert unexplained == {}, "rename a file, or say in SHARED_NAMES what all of them are about"


@pytest.mark.parametrize("name", SHARED_NAMES)
def test_a_shared_name_is_still_shared(name: str) -> None:
    assert name in repeated()


DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs", "observability", "bench")
# A path of the project as documents write it: a folder, a slash, a name with an ending.
MADE = ("report/report.html",)  # by `make demo`
MENTIONED = re.compile(r"(?<![\w/.-])((?:\w[\w-]*/)+[\w.-]+\.(?:py|ya?ml|json|toml|md|txt|html))\b")


def documents() -> Iterator[Path]:
    for name in DOCUMENTS:
        path = ROOT / name
        yield from sorted(path.rglob("*.md")) if path.is_dir() else [path]


def test_files_that_documents_name_exist() -> None:
    mentions = [
        (named(document), match[1])
        for document in documents()
        for match in MENTIONED.finditer(document.read_text())
    ]
    assert len(mentions) > 20
    assert [(where, name) for where, name in mentions if not exists(name)] == []


def exists(name: str) -> bool:
    """True for a file of the project, named from its root or by the end of its path.

    Words in capitals stand for any name.
    """
    if re.search("[A-Z]{4}", name) and "README" not in name:
        return True
    return name in MADE or (ROOT / name).exists() or any(ROOT.glob(f"*/**/{name}"))


def test_every_folder_of_code_has_a_line_in_the_readme() -> None:
    layout = README.read_text().partition("## Layout")[2].partition("\n## ")[0]
    folders = {named(path.parent) + "/" for path in files(".py") if path.name == "__init__.py"}
    assert {folder for folder in folders if f"{folder} " not in layout} == set()
