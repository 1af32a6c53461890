"""Stage `explain`: names for the features of one model, and how well they predict activations.

N: chosen features, W: held-out windows, K: tokens of a window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.analyzer.codes.codes import load_codes
from services.analyzer.codes.readable import readable_tokens
from services.analyzer.explain.by_rule import explain_by_rules
from services.analyzer.explain.task import SAME_PREDICTION, SAME_TRUTH, Outcome, Task, task_of
from services.analyzer.explanations.chosen import STATUSES, choose, statuses
from services.analyzer.explanations.held_out import Watch
from services.analyzer.explanations.scores import (
    balanced_accuracies,
    interval_of,
    mean_of,
    simulation_scores,
)
from shared.arrays import Float32Array, FloatArray, NameArray
from shared.data.token_stream import held_out
from shared.stages.explain import ExplainParameters
from shared.stages.stage import Leave, Stage, StageError

# Rows of a table that are read together: one feature is found without reading the others.
GROUP_ROWS = 4096


@dataclass(frozen=True)
class Scores:
    """The scores of each chosen feature [N]; NaN where undefined or not measured."""

    simulation: FloatArray
    detection: FloatArray
    fuzzing: FloatArray


def run(stage: Stage) -> None:
    """Explain features and score the explanations (see EXPLAIN)."""
    parameters = ExplainParameters.model_validate(stage.parameters)
    task, status_N = _task(stage, parameters)
    outcome = _explain(stage, parameters, task)
    scores = _score(task, outcome)
    _write(stage, "explanations", _explanations(task, status_N, outcome, scores))
    _write(stage, "simulations", _simulations(task, outcome))
    label = parameters.language_model.label if parameters.language_model else None
    stage.results.update(
        method=parameters.method,
        label=label if parameters.method == "language_model" else None,
        **_results(status_N, outcome, scores, parameters.seed),
    )


def _task(stage: Stage, parameters: ExplainParameters) -> tuple[Task, NameArray]:
    """What is to be explained, and the status of each chosen feature [N]."""
    directories = [source.path for source in stage.group("tokens")]
    stream = held_out(directories, parameters.tokens, parameters.context)
    codes = load_codes(stage.input("codes"))
    if codes.tokens != stream.tokens:
        raise StageError(
            f"the codes cover {codes.tokens} token positions, but the stream of these corpora "
            f"has {stream.tokens}"
        )
    status_F = statuses(stage.input("track"), parameters.model, codes.width, stage.group("match"))
    features_N = choose(
        status_F, codes.firings, parameters.min_firings, parameters.features, parameters.seed
    )
    texts = readable_tokens(stage.input("tokenizer").path / "tokenizer.json")
    watch = _watch(stage, 0, 0.1)
    return task_of(codes, stream, texts, features_N, parameters, watch), status_F[features_N]


def _watch(stage: Stage, begin: float, share: float) -> Watch:
    """Progress of a part of the stage, which leaves when it is asked to."""

    def watch(done: int, total: int) -> None:
        if stage.stopping:
            raise Leave
        stage.progress(round(100 * (begin + share * done / max(1, total)), 1), 100, "percent")

    return watch


def _explain(stage: Stage, parameters: ExplainParameters, task: Task) -> Outcome:
    if parameters.method == "rule":
        return explain_by_rules(task, _watch(stage, 0.1, 0.9))
    if parameters.language_model is None:
        raise StageError("language_model: the method language_model needs one")
    from services.analyzer.explain.by_model import explain_by_model  # rules need no client of it

    return explain_by_model(
        stage, task, parameters.language_model, parameters.examples, parameters.seed
    )


def _score(task: Task, outcome: Outcome) -> Scores:
    """Scores of all features; those with an explanation but no score get their failure."""
    windows, bounds_N, marks = task.windows, task.bounds_N, task.marks
    simulation_N = simulation_scores(windows.activations_WK, outcome.predicted_WK, bounds_N)
    detection_N = balanced_accuracies(windows.fires(), outcome.detected_W, bounds_N)
    fuzzing_N = balanced_accuracies(marks.right_W, outcome.fuzzed_W, bounds_N, marks.asked())
    for number in np.flatnonzero(np.isnan(simulation_N)).tolist():
        if outcome.failure_N[number] is None:
            truth_WK = windows.activations_WK[task.own(number)]
            same = truth_WK.min(initial=np.inf) == truth_WK.max(initial=-np.inf)
            outcome.failure_N[number] = SAME_TRUTH if same else SAME_PREDICTION
    return Scores(
        simulation=simulation_N,
        detection=np.where(outcome.detection_N, detection_N, np.nan),
        fuzzing=np.where(outcome.fuzzing_N, fuzzing_N, np.nan),
    )


# --------------------------------------------------------------------------------- files


def _write(stage: Stage, name: str, table: pa.Table) -> None:
    pq.write_table(table, stage.output / f"{name}.parquet", row_group_size=GROUP_ROWS)


def _explanations(task: Task, status_N: NameArray, outcome: Outcome, scores: Scores) -> pa.Table:
    def numbers(values_N: FloatArray) -> pa.Array:
        return pa.array(values_N, pa.float64(), from_pandas=True)  # NaN is null

    density_N = task.codes.firings[task.features_N] / max(1, task.codes.tokens)
    return pa.table(
        {
            "feature": pa.array(task.features_N, pa.int32()),
            "status": pa.array(status_N.tolist(), pa.string()),
            "density": pa.array(density_N, pa.float64()),
            "explanation": pa.array(outcome.explanation_N, pa.string()),
            "score": numbers(scores.simulation),
            "detection": numbers(scores.detection),
            "fuzzing": numbers(scores.fuzzing),
            "failure": pa.array(outcome.failure_N, pa.string()),
            "rule": pa.array(outcome.rule_N, pa.string()),
        }
    )


def _simulations(task: Task, outcome: Outcome) -> pa.Table:
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


# ------------------------------------------------------------------------------- results


def _results(status_N: NameArray, outcome: Outcome, scores: Scores, seed: int) -> dict[str, Any]:
    """Means over the features, altogether and by status."""
    explained_N = np.array([text is not None for text in outcome.explanation_N], bool)
    reasons = [reason for reason in outcome.failure_N if reason is not None]
    by_status = {}
    for status in STATUSES:
        own = status_N == status
        by_status[status] = {
            "features": int(own.sum()),
            "explained": int(explained_N[own].sum()),
            "score": mean_of(scores.simulation[own]),
            "interval": interval_of(scores.simulation[own], seed),
        }
    return {
        "features": len(status_N),
        "explained": int(explained_N.sum()),
        "failed": len(reasons),
        "statuses": by_status,
        "score": mean_of(scores.simulation),
        "interval": interval_of(scores.simulation, seed),
        "detection": mean_of(scores.detection),
        "fuzzing": mean_of(scores.fuzzing),
        "requests": outcome.requests,
        "tokens": outcome.tokens,
        "covered": outcome.covered,
        "failures": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    }
