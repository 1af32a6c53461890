"""The keys of all stages of the project's specs, as tests/shared/plan/stage_keys.txt has them.

`python -m tests.support.stage_keys` writes that file anew. A key may change only where the version
of its kind was raised on purpose, or where a spec was changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from shared.data.uploads import UploadInfo
from shared.plan import make_plan
from shared.resolve.resolve import resolve
from shared.resolve.resolved import BuiltinText
from shared.spec import load_spec
from tests.support.specs import LANGUAGE_MODEL, FakeHub

ROOT = Path(__file__).parents[2]
FILE = ROOT / "tests" / "shared" / "plan" / "stage_keys.txt"
SPECS = (
    *sorted((ROOT / "examples").glob("*.yaml")),
    ROOT / "tests" / "containers" / "small.yaml",
    ROOT / "tests" / "faults" / "experiment.yaml",
    ROOT / "tests" / "integration" / "kinds.yaml",
    ROOT / "tests" / "integration" / "tiny.yaml",
)
# The interpreter's own source differs between Pythons, and with it every key that follows from it.
STDLIB = {"python-stdlib": BuiltinText(digest="d" * 64, bytes=10_000_000)}


def upload(name: str) -> UploadInfo:
    """An upload whose content follows from its name."""
    return UploadInfo(name, hashlib.sha256(name.encode()).hexdigest(), "jsonl", 10_000_000, 5000)


def lines() -> Iterator[str]:
    """One line for every stage in the order of its plan: spec, kind, key, title."""
    for path in SPECS:
        spec = load_spec(path.read_text())
        resolved = resolve(spec, upload, FakeHub(), language_model=LANGUAGE_MODEL)
        builtins = {
            **resolved.builtins,
            **{n: t for n, t in STDLIB.items() if n in resolved.builtins},
        }
        for stage in make_plan(resolved.model_copy(update={"builtins": builtins})).stages:
            yield f"{path.name} {stage.kind} {stage.key} {stage.title}"


if __name__ == "__main__":
    FILE.write_text("".join(f"{line}\n" for line in lines()))
