"""Specs for tests: a small one whose names are placeholders, and edits by dotted path."""

from __future__ import annotations

import copy
from pathlib import Path
from string import Template
from typing import Any

from shared.data.uploads import UploadInfo
from shared.resolve.hub import HubDown, HubMissing, RepositoryKind
from shared.resolve.resolve import resolve
from shared.resolve.resolved import PinnedLanguageModel, ResolvedSpec
from shared.spec import Spec, parse_spec
from shared.spec.parse import read_text

EXAMPLES = Path(__file__).parents[2] / "examples"
REMOVED = object()

TEMPLATE = Template("""
version: 1
name: test
block: 32
tokenizer: {train: {vocab_size: 512, corpora: [$english]}}
corpora:
  $english: {upload: english-file, max_tokens: 100_000, validation: 0.1}
  $code: {upload: code-file, max_tokens: 100_000, validation: 0.1}
  $tales: {builtin: stories, max_tokens: 100_000, validation: 0.1}
models:
  $base:
    pretrain:
      corpora: [$english]
      architecture: {hidden: 32, mlp: 64, heads: 4, kv_heads: 2, layers: 2, context: 64}
  $left: {finetune: {parent: $base, corpora: [$code]}}
  $right: {finetune: {parent: $base, corpora: [$tales]}}
  $merged: {merge: {at_zero: $left, at_one: $right, t: 0.5}}
sweeps:
  between:
    {at_zero: $left, at_one: $right, steps: 5, evaluate_on: [$code, $tales], reference: $base}
dictionaries:
  mlp: {models: all, layer: 1, features: 128, l1: 1e-3, tokens: 10_000, seeds: [0, 1],
        evaluate_tokens: 1000}
tracking:
  main: {dictionary: mlp, corpora: [$english, $code], tokens: 2000}
""")
NAMES = {
    "english": "english",
    "code": "code",
    "tales": "tales",
    "base": "base",
    "left": "left",
    "right": "right",
    "merged": "merged",
}
UPLOADS = {
    "english-file": UploadInfo("english-file", "e" * 64, "jsonl", 10_000_000, 5000),
    "code-file": UploadInfo("code-file", "c" * 64, "text", 10_000_000),
}
LANGUAGE_MODEL = PinnedLanguageModel(endpoint="e" * 64, label="a small model", prompts="f" * 64)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def values(**names: str) -> dict[str, Any]:
    """The plain values of the small spec, with some of its names changed."""
    found: dict[str, Any] = read_text(TEMPLATE.substitute({**NAMES, **names}))
    return found


def edited(*changes: tuple[str, Any], start: dict[str, Any] | None = None) -> dict[str, Any]:
    """The small spec with values put at dotted paths (or taken away, with REMOVED)."""
    changed = copy.deepcopy(start if start is not None else values())
    for path, value in changes:
        *above, last = path.split(".")
        place = changed
        for word in above:
            place = place.setdefault(word, {})
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return changed


def spec(*changes: tuple[str, Any]) -> Spec:
    """The small spec, edited and checked."""
    return parse_spec(edited(*changes))


class FakeHub:
    """A hub with one commit for everything, and a few files; None of them when it is down."""

    def __init__(self, files: dict[str, bytes] | None = None, *, down: bool = False) -> None:
        self.files = files or {}
        self.down = down
        self.asked: list[tuple[str, str, str | None]] = []

    def commit(self, kind: RepositoryKind, name: str, revision: str | None) -> str:
        self.asked.append((kind, name, revision))
        if self.down:
            raise HubDown("no route to host")
        if name.startswith("nobody/"):
            raise HubMissing(f"there is no public {kind} {name} on the hub")
        return COMMIT

    def file(self, name: str, commit: str, path: str) -> bytes | None:
        assert commit == COMMIT
        return None if self.down else self.files.get(f"{name}/{path}")


def resolved(*changes: tuple[str, Any]) -> ResolvedSpec:
    """The small spec, edited, with its uploads, and a hub and a language model that know all."""
    return resolve(spec(*changes), UPLOADS.get, FakeHub(), language_model=LANGUAGE_MODEL)
