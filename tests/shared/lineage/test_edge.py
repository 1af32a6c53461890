"""An edge from the results of its stages, as far as there are any."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from shared.lineage.edge import Edge, edge_of, roles_beside
from shared.lineage.pair import Pair, pair_of
from shared.lineage.roles import Role
from shared.lineage.shares import RULES

MATCH = Role.match("main", "base", "lua")
SPEC = {
    "tracking": {"main": {"dictionary": "mlp", "threshold": 0.8, "min_firings": 10}},
    "dictionaries": {"mlp": {"init": "independent"}},
}
SHIFTED = [[0.1, 0.2, np.nan], [0.3, 0.2, 0.1]]  # best r under two shifts


@dataclass
class Stages:
    """Results by role; empty of those that are planned and not finished."""

    finished: Mapping[Role, Mapping[str, Any]]
    replicates: Mapping[Role, Any] = field(default_factory=dict)

    @property
    def roles(self) -> Collection[str]:
        return self.finished.keys()

    def results(self, role: Role) -> Mapping[str, Any]:
        return self.finished.get(role, {})

    def arrays(self, role: Role, file: str) -> Mapping[str, Any]:
        if file == "null.npz":
            return {"best_r_parent": np.array(SHIFTED)}
        return dict.fromkeys(RULES, self.replicates[role])


def shares(share: float, **more: Any) -> dict[str, Any]:
    """Results of a match by three rules that agree."""
    points = [{"threshold": 0.8, **dict.fromkeys(RULES, share)}]
    return {**dict.fromkeys(RULES, share), "curve": points, **more}


def pair(init: str = "independent", threshold: float | None = None) -> Pair:
    spec = {**SPEC, "dictionaries": {"mlp": {"init": init}}}
    return pair_of(MATCH, spec, threshold)


def test_of_stages_that_are_not_finished_everything_is_none() -> None:
    planned = Stages({MATCH: {}, Role.ceiling("main", "base"): {}})
    edge = edge_of(pair(), planned)
    known = {name for name in Edge.model_fields if getattr(edge, name) is not None}
    settings = {"tracking", "dictionary", "parent", "child", "threshold", "min_firings"}
    assert known == settings | {"controls", "curve", "best_r"}
    assert (edge.controls, edge.curve) == ("seeds", [])
    assert edge.best_r == {"edge": None, "ceiling": None, "null": None}


def test_the_adjusted_share_lies_between_the_controls_with_its_interval() -> None:
    null = dict.fromkeys(RULES, 0.1)
    ceiling = Role.ceiling("main", "base")
    stages = Stages(
        {
            MATCH: shares(0.4, null=null, interval=(0.3, 0.5), alive_parent=20, persist=8),
            ceiling: shares(0.7, interval=(0.6, 0.8)),
        },
        {MATCH: np.linspace(0.3, 0.5, 11), ceiling: np.full(11, 0.7)},
    )
    edge = edge_of(pair(), stages)
    assert edge.adjusted == pytest.approx(0.5)
    assert edge.adjusted_interval is not None
    assert edge.adjusted_interval[0] < edge.adjusted < edge.adjusted_interval[1]
    assert edge.share_of_ceiling == pytest.approx(4 / 7)
    assert edge.crossed is edge.adjusted_crossed is edge.scaling is edge.inherited is None
    histogram = edge.best_r["null"]  # the mean over both shifts of three features
    assert sum(histogram["counts"]) == pytest.approx(3)
    assert (histogram["counts"][0], histogram["counts"][10]) == (0.5, 1.0)


def test_of_warm_starts_the_baseline_is_what_an_untrained_model_keeps() -> None:
    stages = Stages(
        {
            MATCH: shares(0.4, null=dict.fromkeys(RULES, 0.1)),
            Role.warm("main", "base"): shares(0.8),
            Role.unrelated("main", "base"): shares(0.3),
            Role.ceiling("main", "base"): shares(0.5),  # of two seeds: no scale for warm starts
        }
    )
    edge = edge_of(pair("parent"), stages)
    assert (edge.controls, edge.ceiling, edge.baseline) == ("warm", 0.8, 0.3)
    assert edge.adjusted == pytest.approx(0.2)
    assert edge.curve[0]["adjusted"] == pytest.approx(0.2)
    assert Role.unrelated("main", "base") in roles_beside(pair("parent"))
    assert Role.unrelated("main", "base") not in roles_beside(pair())


def test_a_pair_is_that_of_its_role_at_the_threshold_that_is_asked_for() -> None:
    own = pair(threshold=0.5)
    assert (own.tracking, own.parent, own.child) == ("main", "base", "lua")
    assert (own.threshold, pair().threshold) == (0.5, 0.8)
