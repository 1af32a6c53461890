"""features.parquet: how often, how strongly and where each feature fires.

F: features, Z: firings of a block of features, L: corpora.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from services.analyzer.codes.codes import FeatureMajor
from services.analyzer.codes.labels import SHOWN_F1, LabelScores, firing_blocks
from services.analyzer.codes.windows import BINS, bins_of
from shared.arrays import FloatArray, IntArray
from shared.data.token_stream import HeldOut

PLACES = 8  # equal parts of the context


@dataclass(frozen=True)
class Counts:
    """Sums over the firings of features, one row per feature.

    total and maximum [F]: of the activations; corpora [F, L], places [F, 8] and bins [F, 10]:
    firings in each corpus, each eighth of the context, and each tenth of the maximum activation.
    """

    total: FloatArray
    maximum: FloatArray
    corpora: IntArray
    places: IntArray
    bins: IntArray


def features_table(
    codes: FeatureMajor, stream: HeldOut, corpora: int, scores: Mapping[str, LabelScores]
) -> pa.Table:
    """One row per feature (see CONTEXTS); undefined for one that never fires: null."""
    parts = [
        _count(codes, start, stop, stream, corpora) for start, stop in firing_blocks(codes.starts_F)
    ]
    total_F, maximum_F, corpora_FL, places_FP, bins_FB = (
        np.concatenate([getattr(part, name) for part in parts]) if parts else np.empty((0, 1))
        for name in Counts.__dataclass_fields__
    )
    firings_F = np.diff(codes.starts_F)
    fires_F = firings_F > 0
    columns: dict[str, Any] = {
        "feature": pa.array(np.arange(codes.width), pa.int32()),
        "density": firings_F / max(1, codes.tokens),
        "mean": _defined(total_F / np.maximum(1, firings_F), fires_F),
        "max": _defined(maximum_F, fires_F),
    }
    for corpus in range(corpora):
        share_F = corpora_FL[:, corpus] / np.maximum(1, firings_F)
        columns[f"corpus_{corpus}"] = _defined(share_F, fires_F)
    columns["positions"] = _lists(places_FP / np.maximum(1, firings_F)[:, None], fires_F)
    columns["histogram"] = _lists(bins_FB, fires_F)
    return pa.table({**columns, **_best_label(scores, codes.width)})


def _count(codes: FeatureMajor, start: int, stop: int, stream: HeldOut, corpora: int) -> Counts:
    """Counts of the features start to stop."""
    starts_F = codes.starts_F[start : stop + 1]
    part = slice(int(starts_F[0]), int(starts_F[-1]))
    width, value_Z = stop - start, codes.values_Z[part]
    feature_Z = np.repeat(np.arange(width), np.diff(starts_F))
    maximum_F = np.zeros(width)
    filled = np.flatnonzero(np.diff(starts_F))
    if len(filled):
        maximum_F[filled] = np.maximum.reduceat(value_Z, starts_F[:-1][filled] - starts_F[0])
    context = stream.tokens_CT.shape[1]
    context_Z, place_Z = np.divmod(codes.positions_Z[part], context)

    def spread(bin_Z: npt.NDArray[np.integer], count: int) -> IntArray:
        counts = np.bincount(feature_Z * count + bin_Z, minlength=width * count)
        return counts.reshape(width, count)

    return Counts(
        total=np.asarray(np.bincount(feature_Z, value_Z, width), np.float64),
        maximum=maximum_F,
        corpora=spread(stream.corpus_C[context_Z], corpora),
        places=spread(place_Z * PLACES // context, PLACES),
        bins=spread(bins_of(value_Z, maximum_F[feature_Z]), BINS),
    )


def _best_label(scores: Mapping[str, LabelScores], width: int) -> dict[str, pa.Array]:
    """Columns label, precision, recall, f1: the label that each feature indicates best, or null."""
    best: list[dict[str, Any]] = [{"f1": 0.0} for _ in range(width)]
    for label, score in scores.items():
        for feature in np.flatnonzero(score.f1_F >= SHOWN_F1).tolist():
            if score.f1_F[feature] > best[feature]["f1"]:
                best[feature] = {"label": label, **score.of(feature)}
    return {
        name: pa.array(
            [row[name] if "label" in row else None for row in best],
            pa.string() if name == "label" else pa.float64(),
        )
        for name in ("label", "precision", "recall", "f1")
    }


def _defined(values_F: FloatArray, fires_F: npt.NDArray[np.bool_]) -> pa.Array:
    return pa.array(values_F, pa.float64(), mask=~fires_F)


def _lists(values_FK: npt.NDArray[Any], fires_F: npt.NDArray[np.bool_]) -> pa.Array:
    """A column of lists of K numbers each, null where the feature never fires."""
    lengths_F = np.where(fires_F, values_FK.shape[1], 0)
    offsets = np.concatenate([[0], lengths_F]).cumsum()
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        pa.array(values_FK[fires_F].reshape(-1)),
        mask=pa.array(~fires_F),
    )
