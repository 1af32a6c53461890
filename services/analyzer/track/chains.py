"""Features followed along the edges of a family of models.

M: models, E: edges, F: features of a model, U: universal features, P: pairs of a feature and one
that it leads to. The match of an edge is an array [F] over the parent's features: the one-to-one
partner in the child, or -1. Models are numbered so that parents come before their children.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shared.arrays import BoolArray, IntArray

Edge = tuple[int, int]  # parent, child: numbers of models


def universal_chains(
    widths: Sequence[int], edges: Sequence[Edge], matches: Sequence[IntArray]
) -> IntArray:
    """One feature per model such that every edge matches its parent's to its child's: [U, M].

    `widths` are the models' numbers of features. Rows are sorted by the first model's feature.
    Where two parents share a child, both must lead to the same feature. A family without edges, or
    in parts that no edge connects, has no universal feature.
    """
    reached: dict[int, IntArray] = {0: np.arange(widths[0])}
    steps = _steps(widths, edges, matches)
    waiting = [0]
    while waiting:
        model = waiting.pop(0)
        for source, target, step_F in steps:
            if source == model and target not in reached:
                reached[target] = _follow(step_F, reached[source])
                waiting.append(target)
    if not edges or len(reached) < len(widths):
        return np.empty((0, len(widths)), np.int64)
    chains_UM = np.stack([reached[model] for model in range(len(widths))], axis=1)
    whole = (chains_UM >= 0).all(axis=1)
    for (parent, child), match_F in zip(edges, matches, strict=True):
        whole &= _follow(match_F, chains_UM[:, parent]) == chains_UM[:, child]
    return chains_UM[whole]


def models_reached(
    edges: Sequence[Edge], matches: Sequence[IntArray], model: int, feature: int
) -> list[int]:
    """Numbers of the descendants that matches, followed from the feature, lead to."""
    reached: set[tuple[int, int]] = set()  # model, feature
    waiting = [(model, feature)]
    while waiting:
        source, number = waiting.pop()
        for (parent, child), match_F in zip(edges, matches, strict=True):
            step = (child, int(match_F[number])) if parent == source else (child, -1)
            if step[1] >= 0 and step not in reached:
                reached.add(step)
                waiting.append(step)
    return sorted({descendant for descendant, _ in reached})


def reached_from(
    widths: Sequence[int], edges: Sequence[Edge], matches: Sequence[IntArray], model: int
) -> dict[int, BoolArray]:
    """Masks [F] of the model's features that matches lead into each descendant, over any path.

    Every descendant has an entry. Paths may diverge and end in different features of a descendant;
    one that arrives is enough.
    """
    start = np.arange(widths[model])
    arrived = {model: (start, start)}  # feature of `model`, and where it is now: both [P]
    for (parent, child), match_F in _in_order(edges, matches):
        if parent not in arrived:
            continue
        origin_P, current_P = arrived[parent]
        matched = match_F[current_P] >= 0
        pair_P = origin_P[matched] * widths[child] + match_F[current_P[matched]]
        if child in arrived:
            before_P = arrived[child][0] * widths[child] + arrived[child][1]
            pair_P = np.union1d(before_P, pair_P)
        arrived[child] = pair_P // widths[child], pair_P % widths[child]
    del arrived[model]
    return {descendant: np.isin(start, origin_P) for descendant, (origin_P, _) in arrived.items()}


def unbroken_from_roots(
    widths: Sequence[int], edges: Sequence[Edge], matches: Sequence[IntArray]
) -> list[BoolArray]:
    """Per model, the mask [F] of features that a chain of matches from a root leads to.

    A root is a model without parents; all of its features count.
    """
    children = {child for _, child in edges}
    unbroken = [np.full(width, model not in children) for model, width in enumerate(widths)]
    for (parent, child), match_F in _in_order(edges, matches):
        onward = match_F[unbroken[parent]]
        unbroken[child][onward[onward >= 0]] = True
    return unbroken


def matched_in_parents(
    widths: Sequence[int], edges: Sequence[Edge], matches: Sequence[IntArray], model: int
) -> dict[int, BoolArray]:
    """By parent of the model, in the order of the edges: mask [F] of its features matched there."""
    matched = {}
    for (parent, child), match_F in zip(edges, matches, strict=True):
        if child == model:
            matched[parent] = np.zeros(widths[child], bool)
            matched[parent][match_F[match_F >= 0]] = True
    return matched


def _in_order(edges: Sequence[Edge], matches: Sequence[IntArray]) -> list[tuple[Edge, IntArray]]:
    """Edges and their matches, sorted so that all edges into a model precede those out of it."""
    pairs = zip(edges, matches, strict=True)
    return sorted(pairs, key=lambda pair: (pair[0][1], pair[0][0]))


def _steps(
    widths: Sequence[int], edges: Sequence[Edge], matches: Sequence[IntArray]
) -> list[tuple[int, int, IntArray]]:
    """Every edge in both directions: a one-to-one match can be followed backwards."""
    steps = []
    for (parent, child), match_F in zip(edges, matches, strict=True):
        back = np.full(widths[child], -1)
        matched = np.flatnonzero(match_F >= 0)
        back[match_F[matched]] = matched
        steps += [(parent, child, match_F), (child, parent, back)]
    return steps


def _follow(step_F: IntArray, features: IntArray) -> IntArray:
    """The partners of the features, in their shape; -1 for those that are -1 already."""
    return np.where(features >= 0, step_F[features], -1)
