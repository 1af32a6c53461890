"""How well a feature's firing indicates a labelled construct: precision, recall and F1.

A position is positive when it overlaps a span with the label, anywhere in the stream; every other
position is negative, also in corpora that do not have the label. So a feature that fires on an
unlabelled corpus too counts as less precise, never as more.

The activation from which a feature counts as firing, and the feature that is best for a label, are
chosen on every other context; the scores come from the contexts in between. On the same contexts,
the best of many thresholds and features would look better than it is.

T: token positions, F: features, Z: firings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from services.analyzer.codes.codes import FeatureMajor
from shared.arrays import BoolArray, FloatArray, IntArray

SHOWN_F1 = 0.3  # below it a feature does not indicate a label, and has no row for it
BLOCK_ENTRIES = 4_000_000  # firings that are ranked at a time


@dataclass(frozen=True)
class LabelScores:
    """One label against every feature.

    chosen_f1_F and threshold_F come from the choosing half (a feature that is silent there has F1
    0 and an infinite threshold), precision_F, recall_F and f1_F from the measuring half. `support`
    counts the positive positions of the measuring half.
    """

    support: int
    chosen_f1_F: FloatArray
    threshold_F: FloatArray
    precision_F: FloatArray
    recall_F: FloatArray
    f1_F: FloatArray

    def best(self) -> dict[str, Any] | None:
        """The row of the feature that is best on the choosing half; the lowest number wins a tie.

        None when no feature fires on the label there.
        """
        feature = int(np.argmax(self.chosen_f1_F)) if len(self.chosen_f1_F) else -1
        if feature < 0 or self.chosen_f1_F[feature] == 0:
            return None
        return {"feature": feature, **self.of(feature)}

    def of(self, feature: int) -> dict[str, Any]:
        """One feature's row: precision, recall, f1, threshold, support."""
        return {
            "precision": float(self.precision_F[feature]),
            "recall": float(self.recall_F[feature]),
            "f1": float(self.f1_F[feature]),
            "threshold": float(self.threshold_F[feature]),
            "support": self.support,
        }


def positives(
    bits_CT: npt.NDArray[np.uint32], corpus_C: IntArray, names: Sequence[Sequence[str]]
) -> dict[str, BoolArray]:
    """For every label that occurs, in alphabetical order, the positions [T] that carry it.

    `names[c][i]` is what bit i means in corpus c: corpora share a label by its name.
    """
    truths: dict[str, BoolArray] = {}
    for label in sorted({name for corpus in names for name in corpus}):
        bit = [corpus.index(label) if label in corpus else -1 for corpus in map(list, names)]
        masks = np.array([1 << place if place >= 0 else 0 for place in bit], np.uint32)
        truth_T = ((bits_CT & masks[corpus_C][:, None]) != 0).reshape(-1)
        if truth_T.any():
            truths[label] = truth_T
    return truths


def score_labels(
    codes: FeatureMajor, truths: Mapping[str, BoolArray], measuring_T: BoolArray
) -> Iterator[tuple[int, dict[str, LabelScores]]]:
    """Scores for one range of features after another, as (features done, scores by label).

    Labels that do not occur in both halves cannot be measured and are left out.
    """
    usable = {
        label: truth_T
        for label, truth_T in truths.items()
        if (truth_T & measuring_T).any() and (truth_T & ~measuring_T).any()
    }
    for start, stop in firing_blocks(codes.starts_F):
        part = slice(int(codes.starts_F[start]), int(codes.starts_F[stop]))
        feature_Z = np.repeat(np.arange(stop - start), np.diff(codes.starts_F[start : stop + 1]))
        position_Z, value_Z = codes.positions_Z[part], codes.values_Z[part]
        measure_Z = measuring_T[position_Z]
        choose_Z = ~measure_Z
        ranked = _Ranked(feature_Z[choose_Z], value_Z[choose_Z], position_Z[choose_Z], stop - start)
        held = (feature_Z[measure_Z], value_Z[measure_Z], position_Z[measure_Z])
        yield (
            stop,
            {
                label: _score(ranked, held, truth_T, measuring_T)
                for label, truth_T in usable.items()
            },
        )


def joined(parts: Sequence[Mapping[str, LabelScores]]) -> dict[str, LabelScores]:
    """The scores of consecutive ranges of features in one."""
    fields = ("chosen_f1_F", "threshold_F", "precision_F", "recall_F", "f1_F")
    return {
        label: LabelScores(
            parts[0][label].support,
            *(np.concatenate([getattr(part[label], field) for part in parts]) for field in fields),
        )
        for label in (parts[0] if parts else ())
    }


def firing_blocks(starts_F: IntArray) -> list[tuple[int, int]]:
    """Ranges of features (start, stop), all in order, each with about BLOCK_ENTRIES firings."""
    width = len(starts_F) - 1
    targets = np.arange(0, int(starts_F[-1]), BLOCK_ENTRIES)
    begins = np.searchsorted(starts_F[:-1], targets, side="right") - 1
    return list(pairwise(sorted({0, *begins.tolist(), width})))


class _Ranked:
    """Firings of several features, per feature from strong to weak."""

    def __init__(
        self,
        feature_Z: IntArray,
        value_Z: npt.NDArray[np.floating[Any]],
        position_Z: npt.NDArray[np.int32],
        width: int,
    ) -> None:
        order = np.lexsort((-value_Z, feature_Z))
        self.feature_Z, self.value_Z = feature_Z[order], value_Z[order]
        self.position_Z, self.width = position_Z[order], width
        self.starts_F = np.searchsorted(self.feature_Z, np.arange(width + 1))
        self.count_Z = np.arange(len(order)) - self.starts_F[self.feature_Z] + 1
        # A threshold cannot separate equal activations.
        self.tied_Z = np.zeros(len(order), bool)
        self.tied_Z[:-1] = (np.diff(self.value_Z) == 0) & (np.diff(self.feature_Z) == 0)

    def choose(self, truth_T: BoolArray, total: int) -> tuple[FloatArray, FloatArray]:
        """The best F1 of each feature [F], and the activation from which it fires for that [F]."""
        hits_Z = np.concatenate([[0], np.cumsum(truth_T[self.position_Z])])
        true_Z = hits_Z[1:] - hits_Z[self.starts_F[self.feature_Z]]
        f1_Z = 2 * true_Z / (self.count_Z + total)
        f1_Z[self.tied_Z] = -1
        best_F, threshold_F = np.zeros(self.width), np.full(self.width, np.inf)
        filled = np.flatnonzero(np.diff(self.starts_F))
        if len(filled):
            best_F[filled] = np.maximum.reduceat(f1_Z, self.starts_F[filled])
        first = np.flatnonzero(f1_Z == best_F[self.feature_Z])[::-1]
        threshold_F[self.feature_Z[first]] = self.value_Z[first]
        return best_F, threshold_F


def _score(
    ranked: _Ranked,
    held: tuple[IntArray, npt.NDArray[np.floating[Any]], npt.NDArray[np.int32]],
    truth_T: BoolArray,
    measuring_T: BoolArray,
) -> LabelScores:
    chosen_F, threshold_F = ranked.choose(truth_T, int((truth_T & ~measuring_T).sum()))
    feature_Z, value_Z, position_Z = held
    fires_Z = value_Z >= threshold_F[feature_Z]
    fired_F = np.bincount(feature_Z[fires_Z], minlength=ranked.width)
    true_F = np.bincount(feature_Z[fires_Z & truth_T[position_Z]], minlength=ranked.width)
    support = int((truth_T & measuring_T).sum())
    return LabelScores(
        support,
        chosen_F,
        threshold_F,
        true_F / np.maximum(1, fired_F),
        true_F / support,
        2 * true_F / (fired_F + support),
    )
