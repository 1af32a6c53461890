"""Which features are explained: by status, as many of each, spread over their densities.

F: features of the model, N: chosen features.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from shared.arrays import BoolArray, IntArray, NameArray
from shared.lineage.explanations.feature_status import FeatureStatus
from shared.lineage.statuses import alive
from shared.stages.stage import Input, StageError

# The first that holds is the feature's status. The place here also seeds the choice within it.
PRECEDENCE: tuple[FeatureStatus, ...] = ("universal", "disappearing", "emerging", "persisting")


def statuses(track: Input, model: int, width: int, matches: Sequence[Input] = ()) -> NameArray:
    """The status of every feature of the model, by its fates (see EXPLAIN): str [F].

    A feature that an edge to a child loses has no fate of its own: given the `matches` of those
    edges, one without a match in some child is "disappearing" as well. Raises StageError where the
    track or a match does not have the model's `width` features.
    """
    lost_F = _with_fate(track.path, model, width, "lost/")
    for number, source in enumerate(matches):
        match_F = pq.read_table(source.path / "parent.parquet", columns=["match"])[
            "match"
        ].to_numpy()
        if len(match_F) != width:
            raise StageError(
                f"match/{number} has {len(match_F)} features of the parent, the codes of model "
                f"{model} have {width}"
            )
        lost_F |= match_F < 0
    conditions = [
        _with_fate(track.path, model, width, "universal"),
        lost_F,
        _with_fate(track.path, model, width, "new"),
    ]
    return np.select(conditions, PRECEDENCE[:-1], PRECEDENCE[-1])


def _with_fate(track: Path, model: int, width: int, start: str) -> BoolArray:
    """Which features [F] of the model have a fate that starts so."""
    table = pq.read_table(track / "chains.parquet", filters=pc.field("model") == model)
    if len(table) != width:
        raise StageError(
            f"the track has {len(table)} features of model {model}, its codes have {width}"
        )
    fates = table["fate"].combine_chunks()
    parents = pc.list_parent_indices(fates)
    names = fates.flatten().cast(pa.string())
    rows = parents.filter(pc.starts_with(names, start)).to_numpy()
    has_F = np.zeros(width, bool)
    has_F[table["feature"].to_numpy()[rows]] = True
    return has_F


def choose(
    status_F: NameArray, firings_F: IntArray, min_firings: int, count: int | None, seed: int
) -> IntArray:
    """The features to explain, ascending [N]: up to `count` of each status, or all; live ones only.

    The features of a status, in the order of their density, are cut into `count` strata of equal
    size (up to one), and one is drawn of each: rare and dense ones are there as they are among all.
    """
    live_F = alive(firings_F, min_firings)
    if count is None:
        return np.flatnonzero(live_F)
    chosen: list[IntArray] = [np.empty(0, np.int64)]
    for number, status in enumerate(PRECEDENCE):
        own = np.flatnonzero(live_F & (status_F == status))
        by_density = own[np.lexsort((own, firings_F[own]))]
        rng = np.random.default_rng([seed, number])
        edges = np.linspace(0, len(own), min(count, len(own)) + 1).astype(np.int64)
        chosen.append(by_density[rng.integers(edges[:-1], edges[1:])])
    return np.sort(np.concatenate(chosen))
