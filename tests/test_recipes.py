"""The recipes of CONTRIBUTING.md: a variant and a merge method are two files each, and no more.

The tests add toys to a copy of the tree, through the registries only, and run what came of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ("shared", "services", "tests/support")

VARIANT_DECLARATION = '''
"""Toy: ReLU with a setting of its own."""

from pydantic import Field

from shared.spec.base import Number
from shared.spec.variants.base import VariantDeclaration, VariantSettings


class ToySettings(VariantSettings):
    """How strong the penalty is."""

    strength: Number = Field(1.0, description="toy: factor of the penalty.")


VARIANT = VariantDeclaration(
    name="toy", summary="relu with a factor", sparsity=("l1",), settings=ToySettings
)
'''
VARIANT_CODE = '''
"""Toy: the penalty of relu, times the strength."""

from services.sae.variants.relu import Relu
from shared.spec.variants.toy import ToySettings


class Toy(Relu):
    """ReLU with a stronger penalty."""

    def run(self, weights, x_ND, sparsity):
        strength = ToySettings.of(self.parameters).strength
        return super().run(weights, x_ND, sparsity * strength)
'''
METHOD_DECLARATION = '''
"""Toy: part of the way along a line."""

from pydantic import Field

from shared.spec.base import Share
from shared.spec.merges.base import MethodDeclaration
from shared.spec.own_settings import OwnSettings


class ToySettings(OwnSettings):
    """How much of the way."""

    share: Share = Field(1.0, description="toy: share of the way to t.")


METHOD = MethodDeclaration(
    name="toy", summary="along a line", direction=True, settings=ToySettings
)
'''
METHOD_CODE = '''
"""Toy: zero + share t (one - zero)."""


def combine(parents, sink, *, t, share):
    zero, one = parents
    sink(0, zero + share * t * (one - zero))
    return {"moved": share * t}
'''
FILES = {
    "shared/spec/variants/toy.py": VARIANT_DECLARATION,
    "services/sae/variants/toy.py": VARIANT_CODE,
    "shared/spec/merges/toy.py": METHOD_DECLARATION,
    "services/merger/methods/toy.py": METHOD_CODE,
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code with the four files of the two toys, and nothing else changed."""
    copy = tmp_path / "tree"
    for folder in NEEDED:
        shutil.copytree(ROOT / folder, copy / folder)
    (copy / "tests" / "__init__.py").touch()
    for name, text in FILES.items():
        assert not (copy / name).exists()
        (copy / name).write_text(text)
    return copy


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in that tree, which comes before anything that is installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_variant_and_a_merge_method_are_two_files_each(tree: Path, tmp_path: Path) -> None:
    ended = run(tree, "-m", "tests.support.recipes.toys", str(tmp_path / "work"))
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert "toy" in found["schema"]["variant"]
    assert found["schema"]["method"] == ["slerp", "toy"]
    # The settings reach the stages that read them, and the keys of all others stay.
    assert (found["toy"]["variant"], found["toy"]["strength"]) == ("toy", 2.0)
    assert "strength" not in found["plain"]
    assert (found["merge"]["method"], found["merge"]["share"]) == ("toy", 0.25)
    assert (found["sweep"]["method"], found["sweep"]["share"]) == ("toy", 1.0)
    assert found["trains"]
    assert found["merges"]
    assert (found["results"]["method"], found["results"]["linear_fallback"]) == ("toy", [])
    assert found["row"]["moved"] == 0.125
    assert found["points"] == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("missing", ["services/sae/variants", "services/merger/methods"])
def test_a_worker_does_not_start_where_a_name_has_no_code(tree: Path, missing: str) -> None:
    (tree / missing / "toy.py").unlink()
    ended = run(tree, "-m", "shared.worker.app", "--queues=sae")
    package = missing.replace("/", ".")
    assert ended.returncode == 2
    assert ended.stderr == f"toy is declared but has no code: {package} has no module of its name\n"
