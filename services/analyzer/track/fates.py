"""What becomes of features over a whole family: inherited, new, lost, regained.

F: features of a model, U: universal features, M: models, N: kinds of fates, Z: fates of all
features. Only live features (those that fire often enough to judge) have a fate or are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from services.analyzer.track.chains import (
    Edge,
    matched_in_parents,
    reached_from,
    unbroken_from_roots,
)
from shared.arrays import BoolArray, IntArray

Row = dict[str, Any]


@dataclass(frozen=True)
class Kin:
    """A family's models and matches (see chains.py), and direct matches over its generations.

    alive: per model, the mask [F] of live features; direct: per pair of `ancestors`, the one-to-one
    partner [F] in the descendant of each of the ancestor's features, or -1.
    """

    alive: Sequence[BoolArray]
    edges: Sequence[Edge]
    matches: Sequence[IntArray]
    chains_UM: IntArray
    ancestors: Sequence[Edge] = ()
    direct: Sequence[IntArray] = ()

    @cached_property
    def widths(self) -> list[int]:
        """Each model's number of features."""
        return [len(alive_F) for alive_F in self.alive]

    @cached_property
    def inherited(self) -> list[dict[int, BoolArray]]:
        """Per model, by parent: the mask [F] of its live features that have a match there."""
        return [
            {
                parent: matched_F & self.alive[model]
                for parent, matched_F in self._matched_in_parents(model).items()
            }
            for model in range(len(self.alive))
        ]

    @cached_property
    def new(self) -> list[BoolArray]:
        """Per model: the mask [F] of live features that no parent has; none without parents."""
        return [
            alive_F & ~np.any(list(parents.values()), axis=0) if parents else np.zeros_like(alive_F)
            for alive_F, parents in zip(self.alive, self.inherited, strict=True)
        ]

    @cached_property
    def pairs(self) -> list[tuple[Edge, BoolArray, BoolArray]]:
        """Per pair of ancestor and descendant, two masks [F] of the ancestor's live features.

        The first: a path of matches leads to the descendant. The second: a direct match is there.
        """
        paths = {
            ancestor: reached_from(self.widths, self.edges, self.matches, ancestor)
            for ancestor, _ in self.ancestors
        }
        pairs = []
        for (ancestor, descendant), match_F in zip(self.ancestors, self.direct, strict=True):
            alive_F = self.alive[ancestor]
            path_F = paths[ancestor].get(descendant, np.zeros_like(alive_F))
            pairs.append(((ancestor, descendant), path_F & alive_F, (match_F >= 0) & alive_F))
        return pairs

    def _matched_in_parents(self, model: int) -> dict[int, BoolArray]:
        return matched_in_parents(self.widths, self.edges, self.matches, model)


def merges(kin: Kin) -> list[Row]:
    """Where the features of each model of two parents come from (see TRACK)."""
    rows = []
    for child, parents in enumerate(kin.inherited):
        if len(parents) != 2:
            continue
        first_F, second_F = parents.values()
        rows.append(
            {
                "child": child,
                "parents": list(parents),
                "both": int((first_F & second_F).sum()),
                "only": [int((first_F & ~second_F).sum()), int((second_F & ~first_F).sum())],
                "new": int(kin.new[child].sum()),
                "alive": int(kin.alive[child].sum()),
            }
        )
    return rows


def regained(kin: Kin) -> list[Row]:
    """What a path of matches keeps, and what only a direct match finds, per pair of ancestors."""
    return [
        {
            "ancestor": ancestor,
            "descendant": descendant,
            "persist_direct": int(direct_F.sum()),
            "persist_path": int(path_F.sum()),
            "regained": int((direct_F & ~path_F).sum()),
            "lost": int((kin.alive[ancestor] & ~direct_F & ~path_F).sum()),
        }
        for (ancestor, descendant), path_F, direct_F in kin.pairs
    ]


def along(kin: Kin) -> list[Row]:
    """When features appear: live ones, new ones, and those with a chain of matches from a root."""
    unbroken = unbroken_from_roots(kin.widths, kin.edges, kin.matches)
    return [
        {
            "model": model,
            "alive": int(alive_F.sum()),
            "new": int(new_F.sum()),
            "from_first": int((unbroken_F & alive_F).sum()),
        }
        for model, (alive_F, new_F, unbroken_F) in enumerate(
            zip(kin.alive, kin.new, unbroken, strict=True)
        )
    ]


def fates(kin: Kin, model: int) -> Iterator[tuple[str, BoolArray]]:
    """Every fate that features of the model may have, with the mask [F] of those that have it."""
    universal_F = np.zeros(kin.widths[model], bool)
    universal_F[kin.chains_UM[:, model]] = True
    yield "universal", universal_F & kin.alive[model]
    parents = kin.inherited[model]
    if len(parents) == 2:
        (first, first_F), (second, second_F) = parents.items()
        yield f"inherited/{first}", first_F & ~second_F
        yield f"inherited/{second}", second_F & ~first_F
        yield "inherited/both", first_F & second_F
    yield "new", kin.new[model]
    for (ancestor, descendant), path_F, direct_F in kin.pairs:
        if ancestor == model:
            yield f"lost/{descendant}", kin.alive[model] & ~path_F & ~direct_F
            yield f"regained/{descendant}", direct_F & ~path_F


def fate_table(kin: Kin) -> pa.Table:
    """chains.parquet: model, feature, fate (list of str), by model and then by feature.

    Fates are stored as numbers of a common vocabulary: with many models, a row per feature would
    mostly repeat the same few strings.
    """
    vocabulary: dict[str, int] = {}
    numbers: list[IntArray] = []
    counts: list[IntArray] = []
    for model in range(len(kin.alive)):
        named = dict(fates(kin, model))
        number_N = np.array([vocabulary.setdefault(name, len(vocabulary)) for name in named])
        has_FN = np.stack(list(named.values()), axis=1)
        numbers.append(number_N[np.nonzero(has_FN)[1]])
        counts.append(has_FN.sum(axis=1))
    offsets = np.concatenate([[0], *counts]).cumsum()
    fates_Z = pa.DictionaryArray.from_arrays(
        pa.array(np.concatenate(numbers), pa.int32()), pa.array(list(vocabulary), pa.string())
    )
    models = np.repeat(np.arange(len(kin.widths)), kin.widths)
    features = np.concatenate([np.arange(width) for width in kin.widths])
    return pa.table(
        {
            "model": pa.array(models, pa.int32()),
            "feature": pa.array(features, pa.int32()),
            "fate": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), fates_Z),
        }
    )
