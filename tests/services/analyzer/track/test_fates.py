"""Fates of features over small random families, against a walk along every path."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analyzer.track.chains import reached_from, unbroken_from_roots, universal_chains
from services.analyzer.track.fates import Kin, along, fate_table, merges, regained

Feature = tuple[int, int]  # model, feature


@st.composite
def families(draw: st.DrawFn) -> Kin:
    """Two to six models of up to five features; every model has none, one or two parents."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(2, 6))
    alive = [rng.random(rng.integers(1, 6)) < 0.85 for _ in range(count)]
    edges = [
        (int(parent), child)
        for child in range(1, count)
        for parent in rng.permutation(child)[: rng.integers(0, 3)]
    ]
    edges = [edges[place] for place in rng.permutation(len(edges))]
    pairs = [(a, b) for b in range(count) for a in range(b) if (a, b) not in edges]
    ancestors = [pair for pair in pairs if rng.random() < 0.6]
    matches = [partners(rng, alive[a], alive[b]) for a, b in edges]
    chains_UM = universal_chains([len(one) for one in alive], edges, matches)
    direct = [partners(rng, alive[a], alive[b]) for a, b in ancestors]
    return Kin(alive, edges, matches, chains_UM, ancestors, direct)


def partners(rng: np.random.Generator, parent: Any, child: Any) -> Any:
    """A random one-to-one match of live features, some left over."""
    one, other = rng.permutation(np.flatnonzero(parent)), rng.permutation(np.flatnonzero(child))
    pairs = list(zip(one, other, strict=False))
    match = np.full(len(parent), -1)
    for feature, partner in pairs:
        if rng.random() < 0.8:
            match[feature] = partner
    return match


@dataclass(frozen=True)
class Walk:
    """The same questions, asked of one feature at a time."""

    kin: Kin

    def steps(self, place: Feature) -> list[Feature]:
        """Where matches lead in one step."""
        model, feature = place
        return [
            (child, int(match[feature]))
            for (parent, child), match in zip(self.kin.edges, self.kin.matches, strict=True)
            if parent == model and match[feature] >= 0
        ]

    def arrives(self, place: Feature, model: int) -> bool:
        return any(step[0] == model or self.arrives(step, model) for step in self.steps(place))

    def before(self, place: Feature) -> list[Feature]:
        """The features of the parents that match this one."""
        model, feature = place
        return [
            (parent, other)
            for (parent, child), match in zip(self.kin.edges, self.kin.matches, strict=True)
            for other in range(len(match))
            if child == model and match[other] == feature
        ]

    def parents(self, model: int) -> list[int]:
        return [parent for parent, child in self.kin.edges if child == model]

    def from_root(self, place: Feature) -> bool:
        if not self.parents(place[0]):
            return True
        return any(self.from_root(earlier) for earlier in self.before(place))

    def fates(self, place: Feature) -> set[str]:
        model, feature = place
        if not self.kin.alive[model][feature]:
            return set()
        found = {"universal"} if feature in self.kin.chains_UM[:, model] else set()
        inside, parents = {one for one, _ in self.before(place)}, self.parents(model)
        if parents and not inside:
            found.add("new")
        if len(parents) == 2 and inside:
            found.add("inherited/both" if len(inside) == 2 else f"inherited/{inside.pop()}")
        for (ancestor, descendant), match in zip(self.kin.ancestors, self.kin.direct, strict=True):
            if ancestor == model and not self.arrives(place, descendant):
                found.add(f"{'regained' if match[feature] >= 0 else 'lost'}/{descendant}")
        return found


@given(families())
@settings(max_examples=150, deadline=None)
def test_fates_equal_a_walk_along_every_path(kin: Kin) -> None:
    walk = Walk(kin)
    rows = fate_table(kin).to_pylist()
    places = [(m, f) for m, alive in enumerate(kin.alive) for f in range(len(alive))]
    assert [(row["model"], row["feature"]) for row in rows] == places
    for row, place in zip(rows, places, strict=True):
        assert len(set(row["fate"])) == len(row["fate"])
        assert set(row["fate"]) == walk.fates(place)


@given(families())
@settings(max_examples=150, deadline=None)
def test_counts_equal_those_of_a_walk_along_every_path(kin: Kin) -> None:
    walk = Walk(kin)
    counts: Counter[tuple[int, str]] = Counter()
    for model, alive in enumerate(kin.alive):
        for feature in range(len(alive)):
            counts.update((model, fate) for fate in walk.fates((model, feature)))
    for row in merges(kin):
        child, parents = row["child"], row["parents"]
        assert parents == walk.parents(child)
        assert row["only"] == [counts[child, f"inherited/{parent}"] for parent in parents]
        assert row["both"] == counts[child, "inherited/both"]
        assert row["new"] == counts[child, "new"]
        assert row["both"] + sum(row["only"]) + row["new"] == row["alive"]
    with_two = [m for m in range(len(kin.alive)) if len(walk.parents(m)) == 2]
    assert [row["child"] for row in merges(kin)] == with_two
    assert [(row["ancestor"], row["descendant"]) for row in regained(kin)] == kin.ancestors
    for row, match in zip(regained(kin), kin.direct, strict=True):
        ancestor, descendant = row["ancestor"], row["descendant"]
        live = np.flatnonzero(kin.alive[ancestor]).tolist()
        assert row["persist_path"] == sum(walk.arrives((ancestor, f), descendant) for f in live)
        assert row["persist_direct"] == (match >= 0).sum()
        assert row["lost"] == counts[ancestor, f"lost/{descendant}"]
        assert row["regained"] == counts[ancestor, f"regained/{descendant}"]
        assert row["persist_path"] + row["regained"] + row["lost"] == len(live)
    for model, row in enumerate(along(kin)):
        live = np.flatnonzero(kin.alive[model]).tolist()
        whole = sum(walk.from_root((model, f)) for f in live)
        expected = {"model": model, "alive": len(live), "from_first": whole}
        assert row == {**expected, "new": counts[model, "new"]}


def test_one_whole_path_of_several_is_enough() -> None:
    # 0 -> 1 -> 3 breaks behind 1, 0 -> 2 -> 3 does not.
    edges = [(0, 1), (0, 2), (1, 3), (2, 3)]
    matches = [np.array([0]), np.array([0]), np.array([-1]), np.array([0])]
    reached = reached_from([1] * 4, edges, matches, 0)
    assert {model: found.tolist() for model, found in reached.items()} == {
        1: [True], 2: [True], 3: [True]
    }  # fmt: skip
    assert [found.tolist() for found in unbroken_from_roots([1] * 4, edges, matches)] == [
        [True]
    ] * 4


def test_a_feature_lost_on_the_way_and_found_again_is_regained() -> None:
    alive = [np.ones(3, bool)] * 3
    edges, matches = [(0, 1), (1, 2)], [np.array([0, -1, -1]), np.array([0, 1, 2])]
    chains_UM = universal_chains([3] * 3, edges, matches)
    kin = Kin(alive, edges, matches, chains_UM, [(0, 2)], [np.array([-1, 1, -1])])
    assert regained(kin) == [
        {
            "ancestor": 0, "descendant": 2, "persist_direct": 1, "persist_path": 1,
            "regained": 1, "lost": 1,
        }
    ]  # fmt: skip
    fates = [row["fate"] for row in fate_table(kin).to_pylist()]
    assert fates[:3] == [["universal"], ["regained/2"], ["lost/2"]]
    assert fates[3:] == [["universal"], ["new"], ["new"], ["universal"], [], []]
    assert [row["from_first"] for row in along(kin)] == [3, 1, 1]
    assert [row["new"] for row in along(kin)] == [0, 2, 0]


def test_features_that_fire_too_rarely_have_no_fate() -> None:
    edges, matches = [(0, 1)], [np.array([0, -1])]
    alive = [np.array([True, False]), np.array([True, False])]
    kin = Kin(alive, edges, matches, universal_chains([2, 2], edges, matches))
    assert [row["fate"] for row in fate_table(kin).to_pylist()] == [["universal"], []] * 2
    assert along(kin)[1] == {"model": 1, "alive": 1, "new": 0, "from_first": 1}
    dead = replace(kin, alive=[np.zeros(2, bool)] * 2, matches=[np.array([-1, -1])],
                   chains_UM=np.empty((0, 2), np.int64))  # fmt: skip
    assert [row["fate"] for row in fate_table(dead).to_pylist()] == [[]] * 4


def test_many_models_share_one_small_vocabulary_of_fates(tmp_path: Path) -> None:
    count, width = 6, 5000
    edges = [(model, model + 1) for model in range(count - 1)]
    matches = [np.where(np.arange(width) % 7 > 0, np.arange(width), -1) for _ in edges]
    chains_UM = universal_chains([width] * count, edges, matches)
    kin = Kin([np.ones(width, bool)] * count, edges, matches, chains_UM)
    table = fate_table(kin)
    assert pa.types.is_dictionary(table["fate"].type.value_type)
    pq.write_table(table, tmp_path / "chains.parquet")
    assert (tmp_path / "chains.parquet").stat().st_size < 6 * count * width
    rows = pq.read_table(tmp_path / "chains.parquet").to_pylist()
    expected = [["new"] if f % 7 == 0 else ["universal"] for f in range(width)]
    assert [row["fate"] for row in rows[width : 2 * width]] == expected


def test_reached_features_of_a_wide_family_are_as_many_as_chance_says() -> None:
    rng = np.random.default_rng(0)
    width, count = 16_384, 8
    edges = [(m, m + 1) for m in range(count - 1)] + [(m, m + 2) for m in range(count - 2)]
    matches = [np.where(rng.random(width) < 0.7, rng.permutation(width), -1) for _ in edges]
    reached = reached_from([width] * count, edges, matches, 0)
    # Two steps of 0.7 each, or one: features are lost independently.
    assert reached[2].mean() == pytest.approx(1 - (1 - 0.7) * (1 - 0.49), abs=0.02)
    assert sorted(reached) == [1, 2, 3, 4, 5, 6, 7]
