"""Families of models that the tests of the report ask for, and their specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

FEATURES = 320

PAPER: dict[str, Any] = {
    "base": {"pretrain": {"corpora": ["babypython"], "epochs": 3, "seed": None}},
    "lua": {"finetune": {"parent": "base", "corpora": ["lua"], "learning_rate": 2e-5}},
    "stories": {"finetune": {"parent": "base", "corpora": ["stories"]}},
    "luastories": {"merge": {"method": "slerp", "at_zero": "lua", "at_one": "stories", "t": 0.58}},
}
TEN: dict[str, Any] = {
    **PAPER,
    "javascript": {"finetune": {"parent": "base", "corpora": ["lua"]}},
    "poems": {"finetune": {"parent": "stories", "corpora": ["stories"]}},
    "luapoems": {"merge": {"method": "slerp", "at_zero": "poems", "at_one": "lua", "t": 0.3}},
    "luajavascript": {
        "merge": {"method": "slerp", "at_zero": "lua", "at_one": "javascript", "t": 0.5}
    },
    "everything-together": {
        "merge": {"method": "slerp", "at_zero": "luastories", "at_one": "luajavascript", "t": 0.5}
    },
    "base-and-everything": {
        "merge": {"method": "slerp", "at_zero": "base", "at_one": "everything-together", "t": 0.25}
    },
}
EVERYTHING: dict[str, Any] = {
    "checkpoints": (100, 400),
    "crosscoder": True,
    "stability": True,
    "ancestors": True,
    "explain": ("rule", "language_model"),
}
ALONE: dict[str, Any] = {"base": PAPER["base"]}
HOSTILE = "<script>alert('x')</script>"


@dataclass
class Family:
    """What to make; the defaults are the whole experiment of the paper."""

    models: Mapping[str, Any] = field(default_factory=lambda: PAPER)
    trackings: Sequence[str] = ("main",)
    seeds: Sequence[int] = (0, 1)
    null: bool = True
    sweep: bool = True
    dictionaries: bool = True
    universal: bool = True
    failing: bool = True
    token: str = "function"
    init: str = "independent"
    checkpoints: Sequence[int] = ()
    crosscoder: bool = False
    stability: bool = False
    ancestors: bool = False
    explain: Sequence[str] = ()
    corpora: tuple[str, ...] = ("babypython", "lua", "stories")

    def names(self) -> list[str]:
        """All models, checkpoints of the base before it."""
        return [f"base@{step}" for step in self.checkpoints] + list(self.models)

    def edges(self) -> list[tuple[str, str]]:
        """All parent -> child edges."""
        found = list(pairwise([f"base@{step}" for step in self.checkpoints] + ["base"]))
        for name, model in self.models.items():
            if "finetune" in model:
                found.append((model["finetune"]["parent"], name))
            if "merge" in model:
                found += [(model["merge"]["at_zero"], name), (model["merge"]["at_one"], name)]
        return found

    def pairs(self) -> list[tuple[str, str]]:
        """Ancestors with descendants that are not their children, where they are matched."""
        found = set(self.edges())
        while self.ancestors:
            more = {(a, d) for a, b in found for c, d in found if b == c} - found
            if not more:
                break
            found |= more
        names = self.names()
        return sorted(found - set(self.edges()), key=lambda p: [names.index(one) for one in p])

    def cells(self) -> list[dict[str, float]]:
        """A grid of three sizes and three sparsities."""
        grid = [(features, k) for features in (512, 1024, 2048) for k in (8, 16, 32)]
        return [{"features": features, "sparsity": k, "k": k} for features, k in grid]

    def spec(self) -> dict[str, Any]:
        """The user's document."""
        tracking = {
            "dictionary": "mlp",
            "corpora": list(self.corpora),
            "tokens": 20_000,
            "threshold": 0.8,
            "min_firings": 10,
            "controls": {"seeds": len(self.seeds) > 1, "null": self.null},
        }
        sweep = {
            "method": "slerp",
            "at_zero": "stories",
            "at_one": "lua",
            "steps": 11,
            "evaluate_on": ["stories", "lua"],
            "reference": "base",
        }
        group = {"models": "all", "hook": "mlp_post", "layer": 0, "l1": 3e-4, "tokens": 10**6}
        group |= {"variant": "relu", "init": self.init}
        groups: dict[str, Any] = {}
        if self.dictionaries:
            groups["mlp"] = {**group, "features": FEATURES, "seeds": list(self.seeds)}
        if self.crosscoder:
            groups["both"] = {"models": "all", "variant": "crosscoder", "k": 32, "features": 640}
            groups["both"] |= {"seeds": [0], "init": "independent"}
        grid = {"model": "base", "variant": "batchtopk", "features": [512, 1024, 2048]}
        grid |= {"k": [8, 16, 32], "hook": "mlp_post", "layer": 0, "tokens": 10**6}
        return {
            "version": 1,
            "name": "luastories",
            "seed": 1337,
            "tokenizer": {"train": {"vocab_size": 4096, "corpora": ["babypython"]}},
            "corpora": {name: {"builtin": name} for name in self.corpora},
            "models": dict(self.models),
            "sweeps": {"stories-to-lua": sweep} if self.sweep else {},
            "dictionaries": groups,
            "stability": {"grid": grid} if self.stability else {},
            "tracking": dict.fromkeys(self.trackings, tracking),
            **({"explain": {"features": 10}} if self.explain else {}),
        }
