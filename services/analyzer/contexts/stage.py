"""Stage `contexts`: windows where each feature fires, its labels and its effect on the logits.

T: token positions, C: contexts, F: features, W: windows, K: tokens of a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from services.analyzer.codes.codes import FeatureMajor, load_codes
from services.analyzer.codes.labels import SHOWN_F1, LabelScores, joined, positives, score_labels
from services.analyzer.codes.readable import readable_tokens
from services.analyzer.codes.windows import bins_of, sample_firings, top_firings, window_starts
from services.analyzer.contexts.feature_table import features_table
from services.analyzer.contexts.logits import effects_table
from shared.arrays import BoolArray, IntArray
from shared.data.token_stream import HeldOut, held_out, held_out_labels
from shared.stages.stage import Leave, Stage, StageError
from shared.stages.tracking import ContextsParameters

SEED = 1337  # of the samples, together with the feature's number
PROGRESS_EVERY = 64  # features
# Rows of a table that are read together. All tables are sorted by feature, so that one feature is
# found by the ranges of the groups, without reading the others.
GROUP_ROWS = 4096


@dataclass(frozen=True)
class Windows:
    """Shown windows, sorted by feature, kind ("top" before "sample") and rank (from 0)."""

    feature_W: IntArray
    sample_W: BoolArray
    rank_W: IntArray
    bin_W: IntArray
    position_W: IntArray
    start_W: IntArray
    activations_WK: npt.NDArray[np.float32]


def run(stage: Stage) -> None:
    """Collect contexts, statistics and label scores of every feature (see CONTEXTS)."""
    parameters = ContextsParameters.model_validate(stage.parameters)
    directories = [source.path for source in stage.group("tokens")]
    stream = held_out(directories, parameters.tokens, parameters.context)
    codes = load_codes(stage.input("codes"))
    if codes.tokens != stream.tokens:
        raise StageError(
            f"the codes cover {codes.tokens} token positions, but the stream of these corpora "
            f"has {stream.tokens}"
        )
    texts = readable_tokens(stage.input("tokenizer").path / "tokenizer.json")
    _write(stage, "logits", effects_table(stage, parameters, texts, codes.width))
    by_feature = codes.by_feature()
    bits_CT = held_out_labels(directories, parameters.tokens, parameters.context)
    names = [source.results.get("labels", []) for source in stage.group("tokens")]
    truths = positives(bits_CT, stream.corpus_C, names)
    scores = _score(stage, by_feature, truths, stream)
    stage.results["labels"] = {label: score.best() for label, score in scores.items()}
    _write(stage, "labels", _labels_table(scores))
    _write(stage, "features", features_table(by_feature, stream, len(directories), scores))
    windows = collect_windows(stage, by_feature, parameters)
    _write(stage, "contexts", _contexts_table(windows, stream, texts))


def _write(stage: Stage, name: str, table: pa.Table) -> None:
    pq.write_table(table, stage.output / f"{name}.parquet", row_group_size=GROUP_ROWS)


# ------------------------------------------------------------------------------ windows


def collect_windows(stage: Stage, codes: FeatureMajor, parameters: ContextsParameters) -> Windows:
    """The strongest and the sampled windows of every feature that fires."""
    size = min(parameters.window, parameters.context)
    parts: list[Windows] = []
    for feature in range(codes.width):
        if feature % PROGRESS_EVERY == 0:
            if stage.stopping:
                raise Leave
            stage.progress(codes.width + feature, 2 * codes.width, "features")
        if codes.starts_F[feature] < codes.starts_F[feature + 1]:
            parts.append(_windows_of(codes, feature, parameters, size))
    stage.progress(2 * codes.width, 2 * codes.width, "features")
    if not parts:
        none = np.empty(0, np.int64)
        return Windows(none, none > 0, none, none, none, none, np.empty((0, size), np.float32))
    return Windows(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in Windows.__dataclass_fields__
        )
    )


def _windows_of(
    codes: FeatureMajor, feature: int, parameters: ContextsParameters, size: int
) -> Windows:
    places, values = codes.of(feature)
    positions = places.astype(np.int64)
    starts = window_starts(positions, parameters.context, size)
    top = top_firings(positions, values, starts, parameters.top, size)
    sampled = sample_firings(values, parameters.samples, (SEED, feature))
    chosen = np.concatenate([top, sampled])
    places_WK = starts[chosen][:, None] + np.arange(size)
    return Windows(
        feature_W=np.full(len(chosen), feature),
        sample_W=np.repeat([False, True], [len(top), len(sampled)]),
        rank_W=np.concatenate([np.arange(len(top)), np.arange(len(sampled))]),
        bin_W=bins_of(values[chosen], float(values.max())),
        position_W=positions[chosen],
        start_W=starts[chosen],
        activations_WK=codes.at(feature, places_WK),
    )


def _contexts_table(windows: Windows, stream: HeldOut, texts: Sequence[str]) -> pa.Table:
    """contexts.parquet; token strings are taken from one list of the vocabulary's texts."""
    count, size = windows.activations_WK.shape
    places_WK = windows.start_W[:, None] + np.arange(size)
    ids_WK = stream.tokens_CT.reshape(-1)[places_WK].astype(np.int64)
    # A model may have more ids than its tokenizer has tokens.
    missing = max(0, int(ids_WK.max(initial=-1)) + 1 - len(texts))
    vocabulary = pa.array([*texts, *[""] * missing], pa.string())
    offsets = pa.array(np.arange(count + 1) * size, pa.int32())
    context = stream.tokens_CT.shape[1]
    return pa.table(
        {
            "feature": pa.array(windows.feature_W, pa.int32()),
            "kind": pa.array(["top", "sample"], pa.string()).take(
                pa.array(windows.sample_W.astype(np.int32))
            ),
            "rank": pa.array(windows.rank_W, pa.int32()),
            "bin": pa.array(windows.bin_W, pa.int32()),
            "corpus": pa.array(stream.corpus_C[windows.position_W // context], pa.int32()),
            "position": pa.array(windows.position_W, pa.int64()),
            "start": pa.array(windows.start_W, pa.int64()),
            "tokens": pa.ListArray.from_arrays(
                offsets, vocabulary.take(pa.array(ids_WK.reshape(-1)))
            ),
            "activations": pa.ListArray.from_arrays(
                offsets, pa.array(windows.activations_WK.reshape(-1), pa.float32())
            ),
        }
    )


# --------------------------------------------------------------------------- statistics


def _score(
    stage: Stage, codes: FeatureMajor, truths: Mapping[str, BoolArray], stream: HeldOut
) -> dict[str, LabelScores]:
    """Label scores; even contexts choose, odd ones measure, so both see every corpus."""
    contexts, context = stream.tokens_CT.shape
    measuring_T = np.repeat(np.arange(contexts) % 2 == 1, context)
    parts = []
    for done, part in score_labels(codes, truths, measuring_T):
        if stage.stopping:
            raise Leave
        parts.append(part)
        stage.progress(done, 2 * codes.width, "features")
    return joined(parts)


def _labels_table(scores: Mapping[str, LabelScores]) -> pa.Table:
    """labels.parquet: one row per (feature, label) with a measured F1 of SHOWN_F1 or more."""
    rows = [
        {"feature": int(feature), "label": label, **score.of(int(feature))}
        for label, score in scores.items()
        for feature in np.flatnonzero(score.f1_F >= SHOWN_F1)
    ]
    rows.sort(key=lambda row: (row["feature"], row["label"]))
    numbers = {name: pa.float64() for name in ("precision", "recall", "f1", "threshold")}
    schema = pa.schema(
        {"feature": pa.int32(), "label": pa.string(), **numbers, "support": pa.int64()}
    )
    return pa.Table.from_pylist(rows, schema)
