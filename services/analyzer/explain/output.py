"""The tables that the stage `explain` writes (see ExplainParameters).

N: chosen features, W: held-out windows, K: tokens of a window.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.analyzer.explain.outcome import Outcome
from services.analyzer.explain.task import Task
from shared.arrays import Float32Array, FloatArray, NameArray
from shared.lineage.explanations.scores import SCORES
from shared.stages.stage import Stage

# Rows of a table that are read together: one feature is found without reading the others.
GROUP_ROWS = 4096


def write_table(stage: Stage, name: str, table: pa.Table) -> None:
    """Write a table into the artifact as NAME.parquet."""
    pq.write_table(table, stage.output / f"{name}.parquet", row_group_size=GROUP_ROWS)


def explanations(
    task: Task, status_N: NameArray, outcome: Outcome, scores: Mapping[str, FloatArray]
) -> pa.Table:
    """The rows of explanations.parquet; `scores` are [N], by their names."""

    def numbers(values_N: FloatArray) -> pa.Array:
        return pa.array(values_N, pa.float64(), from_pandas=True)  # NaN is null

    density_N = task.codes.firings[task.features_N] / max(1, task.codes.tokens)
    return pa.table(
        {
            "feature": pa.array(task.features_N, pa.int32()),
            "status": pa.array(status_N.tolist(), pa.string()),
            "density": pa.array(density_N, pa.float64()),
            "explanation": pa.array(outcome.explanation_N, pa.string()),
            **{one.column: numbers(scores[name]) for name, one in SCORES.items()},
            "failure": pa.array(outcome.failure_N, pa.string()),
            "rule": pa.array(outcome.rule_N, pa.string()),
        }
    )


def simulations(task: Task, outcome: Outcome) -> pa.Table:
    """The rows of simulations.parquet."""
    windows = task.windows
    context = task.stream.tokens_CT.shape[1]

    def lists(values_WK: Float32Array) -> pa.Array:
        """A column of lists of K numbers, null where they are NaN."""
        there_W = ~np.isnan(values_WK).any(axis=1)
        offsets = np.concatenate([[0], np.where(there_W, values_WK.shape[1], 0)]).cumsum()
        return pa.ListArray.from_arrays(
            pa.array(offsets, pa.int32()),
            pa.array(values_WK[there_W].reshape(-1), pa.float32()),
            mask=pa.array(~there_W),
        )

    return pa.table(
        {
            "feature": pa.array(windows.feature_W, pa.int32()),
            "window": pa.array(windows.number_W, pa.int32()),
            "start": pa.array(windows.start_W, pa.int64()),
            "corpus": pa.array(task.stream.corpus_C[windows.start_W // context], pa.int32()),
            "active": pa.array(windows.active_W, pa.bool_()),
            "activations": lists(windows.activations_WK),
            "predicted": lists(outcome.predicted_WK),
        }
    )
