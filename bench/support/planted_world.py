"""A planted lineage: two toy models on one token stream, with every feature's fate known.

Sources fire on tokens. A feature of a model is one source or the sum of several, so a source in
both models is kept, in one of them dropped or added; two or three sources that are one feature in
the parent and features of their own in the child are a split, the other way round a merge.

N: tokens, Q: sources, F: features of the parent, G: of the child, D: width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.arrays import Float32Array

DENSITY = 0.02  # share of the tokens on which a feature fires, and that of its parts together
# How the firings of a feature fall on its parts. The r of a part is about the root of its share, so
# a part of more than .64 would rightly persist at r >= .8, the rest of it emerge.
SHARES = ((0.5, 0.5), (0.55, 0.45), (1 / 3, 1 / 3, 1 / 3), (0.45, 0.3, 0.25))
LENGTHS = (40, 400)  # tokens of a document
TOPICALITY = 0.5  # standard deviation of the logarithm of a source's rate between documents
WIDTH = 64


@dataclass(frozen=True)
class Sizes:
    """How many features have each fate; splits and merges count wholes."""

    kept: int = 56
    dropped: int = 20
    added: int = 20
    split: int = 12
    merged: int = 12


@dataclass(frozen=True)
class Truth:
    """What happened: pairs that persist, and the features of each side by status."""

    pairs: frozenset[tuple[int, int]]
    parent: tuple[str, ...]  # status of each feature
    child: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """Sources and the two models made of them.

    density_Q: share of the tokens; parent_QF and child_QG: which features a source is part of;
    directions_FD, directions_GD: unit directions of the features in activations.
    """

    density_Q: Float32Array
    parent_QF: Float32Array
    child_QG: Float32Array
    directions_FD: Float32Array
    directions_GD: Float32Array
    truth: Truth

    def draw(
        self, rng: np.random.Generator, tokens: int
    ) -> tuple[Float32Array, npt.NDArray[np.int32]]:
        """Magnitudes 1 + Exp(1) of firing sources [N, Q], and each token's document [N]."""
        lengths = rng.integers(*LENGTHS, size=tokens // LENGTHS[0] + 1)
        documents_N = np.repeat(np.arange(len(lengths)), lengths)[:tokens].astype(np.int32)
        count = int(documents_N[-1]) + 1
        rate = rng.lognormal(-(TOPICALITY**2) / 2, TOPICALITY, (count, len(self.density_Q)))
        fires = rng.random((tokens, len(self.density_Q))) < (rate * self.density_Q)[documents_N]
        strength = 1 + rng.exponential(1.0, fires.shape)
        return np.where(fires, strength, 0).astype(np.float32), documents_N

    def codes(self, sources_NQ: Float32Array) -> tuple[Float32Array, Float32Array]:
        """True activations of the features of the parent [N, F] and of the child [N, G]."""
        return sources_NQ @ self.parent_QF, sources_NQ @ self.child_QG

    def activations(self, sources_NQ: Float32Array) -> tuple[Float32Array, Float32Array]:
        """What a dictionary of each model reads [N, D]: its features in superposition."""
        parent_NF, child_NG = self.codes(sources_NQ)
        return parent_NF @ self.directions_FD, child_NG @ self.directions_GD


def planted(sizes: Sizes, rng: np.random.Generator) -> World:
    """A world of those sizes; features of both models are numbered in a random order."""
    groups: list[tuple[str, tuple[float, ...]]] = []
    for fate in ("kept", "dropped", "added", "split", "merged"):
        for number in range(getattr(sizes, fate)):
            whole = fate not in ("split", "merged")
            groups.append((fate, (1.0,) if whole else SHARES[number % len(SHARES)]))
    density, parent, child = [], _Side(), _Side()
    for fate, shares in groups:
        sources = range(len(density), len(density) + len(shares))
        density += [DENSITY * share for share in shares]
        if fate == "kept":
            parent.add([sources], "persist")
            child.add([sources], "persist")
        elif fate in ("dropped", "split"):
            parent.add([sources], "disappear" if fate == "dropped" else "split")
        elif fate == "merged":
            parent.add([range(source, source + 1) for source in sources], "merge")
        if fate in ("added", "merged"):
            child.add([sources], "emerge" if fate == "added" else "merge")
        elif fate == "split":
            child.add([range(source, source + 1) for source in sources], "split")
    parent_QF, of_parent = parent.shuffled(len(density), rng)
    child_QG, of_child = child.shuffled(len(density), rng)
    both = np.argwhere(parent_QF.T @ child_QG)
    pairs = frozenset((int(f), int(g)) for f, g in both if of_parent[f] == "persist")
    return World(
        np.array(density, np.float32),
        parent_QF,
        child_QG,
        _directions(parent_QF.shape[1], rng),
        _directions(child_QG.shape[1], rng),
        Truth(pairs, of_parent, of_child),
    )


class _Side:
    """The features of one model while they are collected: sources and status of each."""

    def __init__(self) -> None:
        self._sources: list[range] = []
        self._statuses: list[str] = []

    def add(self, features: list[range], status: str) -> None:
        self._sources += features
        self._statuses += [status] * len(features)

    def shuffled(
        self, sources: int, rng: np.random.Generator
    ) -> tuple[Float32Array, tuple[str, ...]]:
        """Membership [Q, F] and statuses in a random order."""
        order = rng.permutation(len(self._sources))
        member_QF = np.zeros((sources, len(order)), np.float32)
        for place, number in enumerate(order):
            member_QF[self._sources[number], place] = 1
        return member_QF, tuple(self._statuses[number] for number in order)


def _directions(features: int, rng: np.random.Generator) -> Float32Array:
    directions_FD = rng.standard_normal((features, WIDTH))
    unit_FD = directions_FD / np.linalg.norm(directions_FD, axis=1, keepdims=True)
    return unit_FD.astype(np.float32)
