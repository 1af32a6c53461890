"""Families of models that the tests of the report ask for, and their specs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    corpora: tuple[str, ...] = ("babypython", "lua", "stories")

    def edges(self) -> list[tuple[str, str]]:
        """All parent -> child edges."""
        found = []
        for name, model in self.models.items():
            if "finetune" in model:
                found.append((model["finetune"]["parent"], name))
            if "merge" in model:
                found += [(model["merge"]["at_zero"], name), (model["merge"]["at_one"], name)]
        return found

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
        return {
            "version": 1,
            "name": "luastories",
            "seed": 1337,
            "tokenizer": {"train": {"vocab_size": 4096, "corpora": ["babypython"]}},
            "corpora": {name: {"builtin": name} for name in self.corpora},
            "models": dict(self.models),
            "sweeps": {"stories-to-lua": sweep} if self.sweep else {},
            "dictionaries": {"mlp": {**group, "features": FEATURES, "seeds": list(self.seeds)}}
            if self.dictionaries
            else {},
            "tracking": dict.fromkeys(self.trackings, tracking),
        }
