"""Rules for features: found on even contexts, with no language model and nothing trained.

The activation that a rule expects at a token is the mean activation of the token's cell (a value of
an attribute, and whether a gate holds), with SHRINK tokens at the feature's mean added. Which rule
a feature gets is decided by the Pearson correlation of expected and true activation over all the
tokens of the even contexts, each of FOLDS folds told by the cells of the others (cross-validatory
choice, Stone 1974). It is a function of sums over cells, so nothing is laid out feature by token.

N: tokens of the even contexts, F: features of a block, J: conditions, Z: firings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from services.analyzer.codes.codes import Codes
from services.analyzer.codes.labels import firing_blocks
from services.analyzer.explain.rules.evidence import Evidence, collect
from services.analyzer.explain.rules.followers import before_meetings, before_sets
from services.analyzer.explain.rules.gates import Cells, final_cells, gated_correlations
from services.analyzer.explain.rules.primaries import (
    Block,
    Primary,
    block_of,
    flat_primary,
    meetings,
    set_primary,
    weighted,
)
from services.analyzer.explain.rules.rule import Gate, Rule
from services.analyzer.explain.rules.value_sets import Pairs
from services.analyzer.explain.rules.wording import Words, worded
from shared.arrays import FloatArray, IntArray
from shared.data.token_stream import HeldOut

# What a longer rule must add to the cross-validated correlation.
SET_GAIN = 0.01  # a set of tokens, over one condition
GATE_GAIN = 0.02  # a second condition
LEAST = 0.05  # a rule that correlates less is none
BLOCK_FEATURES = 1024  # at a time: their sums at all conditions take tens of MB


@dataclass(frozen=True)
class Candidate:
    """One kind of table for all features of a block, with its best gate.

    column_F is the gate's condition: 0 is none, J the set of tokens before.
    """

    primary: Primary
    sets: Pairs | None
    column_F: IntArray
    r_F: FloatArray
    worth_F: FloatArray
    cells: Cells
    set_cells: Cells | None
    set_level_P: FloatArray | None


def _unseen(_done: int, _total: int) -> None:
    """Nobody wants to know."""


def find_rules(
    codes: Codes,
    stream: HeldOut,
    texts: Sequence[str],
    features: IntArray,
    corpora: Sequence[str] = (),
    seen: Callable[[int, int], None] = _unseen,
) -> list[Rule | None]:
    """A rule for each of the features, learnt from the even contexts; None: nothing predicts it.

    `texts` are the vocabulary's (see readable_tokens). `corpora` are the names of the stream's
    corpora, for the words; where they are not known, see shared.lineage.explanations. `seen` is
    called with the features done, and all, after every block; it may raise to stop. Equal
    arguments give equal rules.

    Costs: sorting a feature's firings by token, and by the token before, O(Z log Z) in all; about
    8 Z additions for each of the sums at all conditions; for tables of V tokens in all O(V J). A
    block holds about 4 000 000 firings and at most 1024 features, and no array is F x vocabulary.
    500 000 tokens with 32 firings each, 4 096 features: 14 s on one core.
    """
    evidence = collect(stream, texts)
    features = np.asarray(features, np.int64)
    if evidence.folds < 2 or not len(features):  # nothing to hold a rule against
        return [None] * len(features)
    unique, where = np.unique(features, return_inverse=True)
    words = Words(texts, corpora)
    rules: list[Rule | None] = []
    for block in _blocks(codes, stream, evidence, unique):
        rules += _of_block(evidence, block, words)
        seen(len(rules), len(unique))
    return [rules[place] for place in where.tolist()]


def _blocks(
    codes: Codes, stream: HeldOut, evidence: Evidence, features: IntArray
) -> Iterator[Block]:
    """The firings of the features (which ascend) on the even contexts."""
    contexts, context = stream.tokens_CT.shape
    spans = [(at * context, (at + 1) * context) for at in range(0, contexts, 2)]
    columns = codes.only(features).rearranged(spans).by_feature()
    starts_F = columns.starts_F[np.append(features, columns.width)]
    for first, last in firing_blocks(starts_F):
        for start in range(first, last, BLOCK_FEATURES):
            stop = min(last, start + BLOCK_FEATURES)
            part = slice(int(starts_F[start]), int(starts_F[stop]))
            yield block_of(
                evidence,
                np.repeat(np.arange(stop - start), np.diff(starts_F[start : stop + 1])),
                columns.positions_Z[part].astype(np.int64),
                columns.values_Z[part].astype(np.float64),
                stop - start,
            )


def _of_block(evidence: Evidence, block: Block, words: Words) -> list[Rule | None]:
    candidates = [
        _with_gates(evidence, block, flat_primary(evidence, block), 0.0),
        _with_gates(evidence, block, set_primary(evidence, block, "token"), SET_GAIN),
        _with_gates(evidence, block, set_primary(evidence, block, "before"), SET_GAIN),
    ]
    best_F = np.argmax(np.stack([one.worth_F for one in candidates]), 0)
    found: list[Rule | None] = []
    for feature, kind in enumerate(best_F.tolist()):
        known = candidates[kind].r_F[feature] >= LEAST
        found.append(_rule(evidence, candidates[kind], feature, words) if known else None)
    return found


def _with_gates(evidence: Evidence, block: Block, primary: Primary, price: float) -> Candidate:
    """The table of each feature with the gate that adds the most, if it adds enough."""
    met = meetings(evidence, block, primary)
    every = sum(primary.counts[1:], primary.counts[0])
    cells = final_cells(
        weighted(primary, block.features, primary.level_P, every), met, block.totals
    )
    r_FJ = gated_correlations(met, block.totals)
    sets, set_cells, set_level_P = None, None, None
    worth_FJ = r_FJ - price - GATE_GAIN
    worth_FJ[:, 0] += GATE_GAIN
    if primary.kind == "token":
        sets = before_sets(evidence, block, primary)
        set_level_P = sets.sum_PK.sum(1) / sets.tokens_PK.sum(1)
        both, final = before_meetings(evidence, block, primary, sets, met)
        set_cells = final_cells(final, both, block.totals)
        r = gated_correlations(both, block.totals)[:, 1:]
        r_FJ = np.concatenate([r_FJ, r], 1)
        worth_FJ = np.concatenate([worth_FJ, r - price - GATE_GAIN - SET_GAIN], 1)
    column_F = np.argmax(worth_FJ, 1)
    rows = np.arange(block.features)
    best = (r_FJ[rows, column_F], worth_FJ[rows, column_F])
    return Candidate(primary, sets, column_F, *best, cells, set_cells, set_level_P)


# ------------------------------------------------------------------------------- one rule


def _rule(evidence: Evidence, candidate: Candidate, feature: int, words: Words) -> Rule:
    pairs, columns = candidate.primary.pairs, evidence.columns
    mine = slice(*np.searchsorted(pairs.feature_P, [feature, feature + 1]).tolist())
    values = pairs.value_P[mine].tolist()
    attribute: str = candidate.primary.kind
    if attribute == "flat":
        meant = [columns.meaning(column) for column in values]
        attribute, values = meant[0][0], [value for _, value in meant]
    rule = Rule(
        text="",
        attribute=attribute,
        values=tuple(values),
        levels=tuple(candidate.primary.level_P[mine].tolist()),
        other=float(candidate.cells.other_inside[feature, 0]),
        correlation=float(candidate.r_F[feature]),
        gate=_gate(evidence, candidate, feature),
    )
    return worded(rule, words)


def _gate(evidence: Evidence, candidate: Candidate, feature: int) -> Gate | None:
    column = int(candidate.column_F[feature])
    if column == 0:
        return None
    if column < evidence.columns.count:
        cells = candidate.cells
        attribute, value = evidence.columns.meaning(column)
        values: tuple[int, ...] = (value,)
    else:
        assert candidate.sets is not None
        assert candidate.set_cells is not None
        assert candidate.set_level_P is not None
        cells, column, attribute = candidate.set_cells, 1, "before"
        of = candidate.sets.feature_P
        mine = slice(*np.searchsorted(of, [feature, feature + 1]).tolist())
        strongest = np.argsort(-candidate.set_level_P[mine], kind="stable")
        values = tuple(candidate.sets.value_P[mine][strongest].tolist())
    numbers = (cells.inside, cells.outside, cells.other_inside, cells.other_outside)
    return Gate(attribute, values, *(float(one[feature, column]) for one in numbers))
