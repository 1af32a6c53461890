"""What becomes of features over a whole family: inherited, new, lost, regained.

F: features of a model, U: universal features, M: models, N: fates there are, Z: fates of all
features. Only live features (those that fire often enough to tell) have a fate or are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from services.analyzer.track.chains import Edge, found_in_parents, reached_from, unbroken_from_roots
from shared.arrays import BoolArray, IntArray

Row = dict[str, Any]


@dataclass(frozen=True)
class Kin:
    """A family's models and matches (see chains.py), and direct matches over its generations.

    alive: per model, which features [F] are live; direct: per pair of `ancestors`, the one-to-one
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
        """Per model, by parent: which of its live features [F] have a match there."""
        return [
            {
                parent: found_F & self.alive[model]
                for parent, found_F in self._found_in_parents(model).items()
            }
            for model in range(len(self.alive))
        ]

    @cached_property
    def new(self) -> list[BoolArray]:
        """Per model: which live features [F] no parent has; none in a model without parents."""
        return [
            alive_F & ~np.any(list(found.values()), axis=0) if found else np.zeros_like(alive_F)
            for alive_F, found in zip(self.alive, self.inherited, strict=True)
        ]

    @cached_property
    def pairs(self) -> list[tuple[Edge, BoolArray, BoolArray]]:
        """Per pair of ancestors: which live features [F] of the ancestor a path of matches leads
        to the descendant, and which have a direct match there."""
        paths = {
            ancestor: reached_from(self.widths, self.edges, self.matches, ancestor)
            for ancestor, _ in self.ancestors
        }
        found = []
        for (ancestor, descendant), match_F in zip(self.ancestors, self.direct, strict=True):
            alive_F = self.alive[ancestor]
            path_F = paths[ancestor].get(descendant, np.zeros_like(alive_F))
            found.append(((ancestor, descendant), path_F & alive_F, (match_F >= 0) & alive_F))
        return found

    def _found_in_parents(self, model: int) -> dict[int, BoolArray]:
        return found_in_parents(self.widths, self.edges, self.matches, model)


def merges(kin: Kin) -> list[Row]:
    """Where the features of each model of two parents come from (see TRACK)."""
    rows = []
    for child, found in enumerate(kin.inherited):
        if len(found) != 2:
            continue
        one_F, other_F = found.values()
        rows.append(
            {
                "child": child,
                "parents": list(found),
                "both": int((one_F & other_F).sum()),
                "only": [int((one_F & ~other_F).sum()), int((other_F & ~one_F).sum())],
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
    """Every fate that features of the model may have, and which features [F] have it."""
    universal_F = np.zeros(kin.widths[model], bool)
    universal_F[kin.chains_UM[:, model]] = True
    yield "universal", universal_F & kin.alive[model]
    found = kin.inherited[model]
    if len(found) == 2:
        (first, one_F), (second, other_F) = found.items()
        yield f"inherited/{first}", one_F & ~other_F
        yield f"inherited/{second}", other_F & ~one_F
        yield "inherited/both", one_F & other_F
    yield "new", kin.new[model]
    for (ancestor, descendant), path_F, direct_F in kin.pairs:
        if ancestor == model:
            yield f"lost/{descendant}", kin.alive[model] & ~path_F & ~direct_F
            yield f"regained/{descendant}", direct_F & ~path_F


def fate_table(kin: Kin) -> pa.Table:
    """chains.parquet: model, feature, fate (list of str), by model and then by feature.

    Fates are kept as numbers of a common vocabulary: with many models, most of a table of a row
    per feature would be the same few strings.
    """
    vocabulary: dict[str, int] = {}
    which: list[IntArray] = []
    counts: list[IntArray] = []
    for model in range(len(kin.alive)):
        named = dict(fates(kin, model))
        numbers_N = np.array([vocabulary.setdefault(name, len(vocabulary)) for name in named])
        has_FN = np.stack(list(named.values()), axis=1)
        which.append(numbers_N[np.nonzero(has_FN)[1]])
        counts.append(has_FN.sum(axis=1))
    offsets = np.concatenate([[0], *counts]).cumsum()
    which_Z = pa.DictionaryArray.from_arrays(
        pa.array(np.concatenate(which), pa.int32()), pa.array(list(vocabulary), pa.string())
    )
    models = np.repeat(np.arange(len(kin.widths)), kin.widths)
    features = np.concatenate([np.arange(width) for width in kin.widths])
    return pa.table(
        {
            "model": pa.array(models, pa.int32()),
            "feature": pa.array(features, pa.int32()),
            "fate": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), which_Z),
        }
    )
