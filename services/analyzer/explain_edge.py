"""Stage `explain_edge`: does a parent's explanation predict the child's feature?

The simulation is the stored one of the parent's explanation, so no language model is asked again.
It is held against the activations of another feature, the child's, at the same tokens.

N: explained features, W: windows, K: tokens of a window, F: features of the parent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.analyzer.codes.codes import Codes, load_codes
from services.analyzer.explanations.held_out import EVERY
from services.analyzer.explanations.scores.simulation import simulation_scores
from shared.arrays import Float32Array, FloatArray, IntArray, NameArray
from shared.lineage.explanations.means import interval_of, mean_of
from shared.stages.explain import ExplainEdgeParameters
from shared.stages.stage import Leave, Stage, StageError

NONE = -1  # no partner


@dataclass(frozen=True)
class Partners:
    """Of every feature of the parent: its status on the edge, and the child's feature beside it."""

    status_F: NameArray
    partner_F: IntArray
    r_F: FloatArray


def run(stage: Stage) -> None:
    """Hold the parent's simulations against the child's features (see EXPLAIN_EDGE)."""
    parameters = ExplainEdgeParameters.model_validate(stage.parameters)
    explain = stage.input("explain")
    if explain.results["method"] != parameters.method:
        raise StageError(
            f"method is {parameters.method}, but the parent's explanations are by "
            f"{explain.results['method']}"
        )
    parent, child = load_codes(stage.input("parent")), load_codes(stage.input("child"))
    if parent.tokens != child.tokens:
        raise StageError(
            f"the parent's codes cover {parent.tokens} token positions, the child's {child.tokens}"
        )
    partners = _partners(stage.input("match").path, parent.width)
    own = pq.read_table(explain.path / "explanations.parquet", columns=["feature", "score"])
    live_N = partners.status_F[own["feature"].to_numpy()] != "rare"
    feature_N = own["feature"].to_numpy()[live_N].astype(np.int64)
    score_N = own["score"].to_numpy()[live_N].astype(np.float64)
    cross_N = _cross(stage, explain.path, feature_N, partners.partner_F, child)
    pq.write_table(_table(feature_N, partners, score_N, cross_N), stage.output / "cross.parquet")
    matched_N = partners.status_F[feature_N] == "persist"
    stage.results.update(
        method=parameters.method,
        persist=_summary(score_N[matched_N], cross_N[matched_N], parameters.seed),
        disappear=_summary(score_N[~matched_N], cross_N[~matched_N], parameters.seed),
    )


def _partners(match: Path, width: int) -> Partners:
    """The match where there is one, else the closest feature of the child."""
    names = ("best", "best_r", "match", "match_r", "status")
    table = pq.read_table(match / "parent.parquet", columns=list(names))
    if len(table) != width:
        raise StageError(
            f"the match has {len(table)} features of the parent, its codes have {width}"
        )
    column = {name: table[name].to_numpy() for name in names}
    matched_F = column["match"] >= 0
    return Partners(
        status_F=np.array(table["status"].to_pylist(), np.str_),
        partner_F=np.where(matched_F, column["match"], column["best"]).astype(np.int64),
        r_F=np.where(matched_F, column["match_r"], column["best_r"]).astype(np.float64),
    )


def _cross(
    stage: Stage, explain: Path, feature_N: IntArray, partner_F: IntArray, child: Codes
) -> FloatArray:
    """Pearson of each feature's simulation with its partner's activations [N]; NaN: undefined.

    Features ascend.
    """
    partner_N = partner_F[feature_N]
    partners = child.only(partner_N[partner_N != NONE]).by_feature()
    feature_W, start_W, predicted_WK = _simulated(explain, feature_N[partner_N != NONE])
    bounds_N = np.append(np.searchsorted(feature_W, feature_N), len(feature_W))
    places = np.arange(predicted_WK.shape[1])
    true_WK = np.zeros_like(predicted_WK)
    for number, partner in enumerate(partner_N.tolist()):
        if number % EVERY == 0:
            if stage.stopping:
                raise Leave
            stage.progress(number, len(partner_N), "features")
        own = slice(bounds_N[number], bounds_N[number + 1])
        if partner != NONE:
            true_WK[own] = partners.at(partner, start_W[own, None] + places)
    stage.progress(len(partner_N), len(partner_N), "features")
    return simulation_scores(true_WK, predicted_WK, bounds_N)


def _simulated(explain: Path, features: IntArray) -> tuple[IntArray, IntArray, Float32Array]:
    """The windows of these features that have a simulation: feature, start, predictions [W, K]."""
    table = pq.read_table(
        explain / "simulations.parquet",
        columns=["feature", "start", "predicted"],
        filters=pc.field("predicted").is_valid(),
    )
    table = table.filter(pc.is_in(table["feature"], pa.array(features, pa.int32())))
    values = table["predicted"].combine_chunks().flatten().to_numpy()
    return (
        table["feature"].to_numpy().astype(np.int64),
        table["start"].to_numpy(),
        values.reshape(len(table), -1 if len(table) else 0),
    )


def _table(
    feature_N: IntArray, partners: Partners, score_N: FloatArray, cross_N: FloatArray
) -> pa.Table:
    def numbers(values_N: FloatArray) -> pa.Array:
        return pa.array(values_N, pa.float64(), from_pandas=True)  # NaN is null

    return pa.table(
        {
            "feature": pa.array(feature_N, pa.int32()),
            "status": pa.array(partners.status_F[feature_N].tolist(), pa.string()),
            "partner": pa.array(partners.partner_F[feature_N], pa.int32()),
            "partner_r": numbers(partners.r_F[feature_N]),
            "score": numbers(score_N),
            "cross": numbers(cross_N),
        }
    )


def _summary(score_N: FloatArray, cross_N: FloatArray, seed: int) -> dict[str, Any] | None:
    """Means over the features that have both scores; None of none."""
    both = ~np.isnan(score_N) & ~np.isnan(cross_N)
    if not both.any():
        return None
    score_N, cross_N = score_N[both], cross_N[both]
    return {
        "features": int(both.sum()),
        "score": mean_of(score_N),
        "cross": mean_of(cross_N),
        "interval": interval_of(cross_N, seed),
        "difference": mean_of(score_N - cross_N),
        "difference_interval": interval_of(score_N - cross_N, seed),
    }
