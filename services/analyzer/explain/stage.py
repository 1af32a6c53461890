"""Stage `explain`: names for the features of one model, and how well they predict activations.

N: chosen features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from services.analyzer.codes.codes import load_codes
from services.analyzer.codes.readable import readable_tokens
from services.analyzer.explain.methods import explain_function
from services.analyzer.explain.outcome import Outcome
from services.analyzer.explain.output import explanations, simulations, write_table
from services.analyzer.explain.progress import watch_part
from services.analyzer.explain.task import Task, task_of
from services.analyzer.explanations.scores.registry import all_scores
from services.analyzer.explanations.selection import PRECEDENCE, choose, statuses
from shared.arrays import FloatArray, NameArray
from shared.data.token_stream import held_out
from shared.lineage.explanations.means import interval_of, mean_of, means
from shared.lineage.explanations.methods import METHODS
from shared.lineage.explanations.scores import MAIN
from shared.stages.explain import ExplainParameters
from shared.stages.stage import Stage, StageError


def run(stage: Stage) -> None:
    """Explain features and score the explanations (see EXPLAIN)."""
    parameters = ExplainParameters.model_validate(stage.parameters)
    task, status_N = _task(stage, parameters)
    outcome = explain_function(parameters.method)(stage, task, parameters)
    scores = all_scores(outcome.on_trial(task))
    outcome.explain_missing_scores(task, np.flatnonzero(np.isnan(scores[MAIN.name])).tolist())
    write_table(stage, "explanations", explanations(task, status_N, outcome, scores))
    write_table(stage, "simulations", simulations(task, outcome))
    asked = METHODS[parameters.method].needs_language_model
    model = parameters.language_model if asked else None
    stage.results.update(
        method=parameters.method,
        label=model.label if model else None,
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
    watch = watch_part(stage, 0, 0.1)
    return task_of(codes, stream, texts, features_N, parameters, watch), status_F[features_N]


def _results(
    status_N: NameArray, outcome: Outcome, scores: Mapping[str, FloatArray], seed: int
) -> dict[str, Any]:
    """Means over the features, altogether and by status."""
    explained_N = np.array([text is not None for text in outcome.explanation_N], bool)
    reasons = [reason for reason in outcome.failure_N if reason is not None]
    main_N, by_status = scores[MAIN.name], {}
    for status in PRECEDENCE:
        own = status_N == status
        by_status[status] = {
            "features": int(own.sum()),
            "explained": int(explained_N[own].sum()),
            MAIN.column: mean_of(main_N[own]),
            "interval": interval_of(main_N[own], seed),
        }
    return {
        "features": len(status_N),
        "explained": int(explained_N.sum()),
        "failed": len(reasons),
        "statuses": by_status,
        **means(scores, seed),
        "requests": outcome.requests,
        "tokens": outcome.tokens,
        "covered": outcome.covered,
        "failures": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    }
