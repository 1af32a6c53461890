"""What the choice of a rule knows: the even contexts, cut into folds, and sums over their tokens.

N: tokens of the even contexts, K: folds, J: yes-or-no conditions, V: vocabulary, F: features of a
block, Z: their firings, P: pairs of a feature and a value of an attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_matrix, hstack

from services.analyzer.explain.rules.classes import CLASSES, bits_at
from services.analyzer.explain.rules.places import FLAGS, POSITIONS, cells_of, values_at
from shared.arrays import BoolArray, FloatArray, IntArray
from shared.data.token_stream import HeldOut

FOLDS = 4  # an even context's fold is its turn modulo this, so that each sees every corpus
ALWAYS = 0  # the condition that holds everywhere
# Tokens that a mean is drawn towards the mean of all by: a token seen once, while the feature
# happened to fire, says little of the next time.
SHRINK = 1.0
Counts: TypeAlias = csr_matrix  # sparse [rows, J], float64


@dataclass(frozen=True)
class Columns:
    """Where the conditions stand: 0 holds always, then FLAGS, then positions, then corpora."""

    corpora: int

    @property
    def positions(self) -> range:
        """The columns of the cells of "position"."""
        return range(1 + len(FLAGS), 1 + len(FLAGS) + POSITIONS)

    @property
    def domains(self) -> range:
        """The columns of the corpora."""
        return range(self.positions.stop, self.positions.stop + self.corpora)

    @property
    def count(self) -> int:
        """J."""
        return self.domains.stop

    def meaning(self, column: int) -> tuple[str, int]:
        """Attribute and value of a column that does not hold always."""
        if column in self.positions:
            return "position", column - self.positions.start
        if column in self.domains:
            return "corpus", column - self.domains.start
        return FLAGS[column - 1], 1


@dataclass(frozen=True)
class Evidence:
    """The even contexts: attributes of their tokens and how often values meet conditions.

    token_N and before_N are ids (before_N is V at the start of a context), holds_NJ says which
    conditions hold, cell_N and corpus_N are "position" and "corpus", fold_N is the fold.
    """

    token_N: IntArray
    before_N: IntArray
    cell_N: IntArray
    corpus_N: IntArray
    fold_N: IntArray
    holds_NJ: csr_matrix
    columns: Columns
    vocabulary: int
    folds: int

    @cached_property
    def tokens_of_fold(self) -> FloatArray:
        """The number of tokens in each fold [K]."""
        return np.bincount(self.fold_N, minlength=self.folds).astype(np.float64)

    @cached_property
    def dense(self) -> BoolArray:
        """holds_NJ as bool [N, J]: a byte for each token and condition."""
        found: BoolArray = self.holds_NJ.astype(bool).toarray()
        return found

    def counts(self, value_N: IntArray, rows: int) -> list[Counts]:
        """For each fold, on how many tokens each value (a row) meets each condition."""
        found = []
        for fold in range(self.folds):
            at = np.flatnonzero(self.fold_N == fold)
            ones = np.ones(len(at))
            spread = csr_matrix((ones, (value_N[at], at)), (rows, len(value_N)))
            found.append((spread @ self.holds_NJ).tocsr())
        return found

    @cached_property
    def by_attribute(self) -> dict[str, list[Counts]]:
        """`counts` of "token", of "before" and of the conditions themselves ("flat")."""
        flat = []
        for fold in range(self.folds):
            rows = self.holds_NJ[np.flatnonzero(self.fold_N == fold)]
            flat.append((rows.T @ rows).tocsr())
        return {
            "token": self.counts(self.token_N, self.vocabulary + 1),
            "before": self.counts(self.before_N, self.vocabulary + 1),
            "flat": flat,
        }

    @cached_property
    def following(self) -> Bigrams:
        """How often tokens follow each other in each fold."""
        key_N = self.token_N * (self.vocabulary + 1) + self.before_N
        keys, where = np.unique(key_N, return_inverse=True)
        size = len(keys) * self.folds
        counts = np.bincount(where * self.folds + self.fold_N, minlength=size)
        return Bigrams(keys, counts.reshape(-1, self.folds).astype(np.float64), self.vocabulary)


@dataclass(frozen=True)
class Bigrams:
    """Pairs of a token and the one before it, and their counts in each fold."""

    keys: IntArray
    counts_K: FloatArray
    vocabulary: int

    def of(self, token: IntArray, before: IntArray) -> tuple[IntArray, FloatArray]:
        """Which of the pairs of a token and the one before it occur, and their counts [.., K]."""
        wanted = token * (self.vocabulary + 1) + before
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found = np.flatnonzero(self.keys[place] == wanted)
        return found, self.counts_K[place[found]]


def collect(stream: HeldOut, texts: Sequence[str]) -> Evidence:
    """The evidence of a stream's even contexts; about N x 8 conditions hold."""
    contexts, context = stream.tokens_CT.shape
    even = np.arange(0, contexts, 2)
    places = (even[:, None] * context + np.arange(context)).reshape(-1)
    token_N = values_at("token", stream, texts, places)
    before_N = values_at("before", stream, texts, places)
    vocabulary = max(len(texts), int(token_N.max(initial=-1)) + 1)
    columns = Columns(int(stream.corpus_C.max(initial=-1)) + 1)
    parts = [csr_matrix(np.ones((len(places), 1)))]
    parts.append(csr_matrix(values_at("line", stream, texts, places)[:, None], dtype=np.float64))
    for ids_N in (token_N, before_N):  # as FLAGS has them, but texts are looked at once
        bits_N = bits_at(texts, ids_N)
        shifts = np.arange(len(CLASSES))
        parts += [csr_matrix(((bits_N >> one) & 1)[:, None], dtype=np.float64) for one in shifts]
    ones, rows = np.ones(len(places)), np.arange(len(places))
    cell_N = cells_of(places % context, context)
    parts.append(csr_matrix((ones, (rows, cell_N)), (len(places), POSITIONS)))
    corpus_N = stream.corpus_C[places // context]
    parts.append(csr_matrix((ones, (rows, corpus_N)), (len(places), columns.corpora)))
    folds = min(FOLDS, len(even))
    return Evidence(
        token_N,
        np.where(before_N < 0, vocabulary, before_N),
        cell_N,
        corpus_N,
        np.repeat(np.arange(len(even)) % max(1, folds), context),
        hstack(parts, "csr"),
        columns,
        vocabulary,
        folds,
    )
