"""Rules for features: their time against a lower bound, and how well they predict planted tokens.

    python bench/explain_rules.py                      # 4 096 features, 500 000 tokens, L0 32
    python bench/explain_rules.py --features 16384 --tokens 1000000 --rounds 1

Tokens follow Zipf's law over a vocabulary of 32 000. A third of the features fire on a planted set
of 1 to 6 tokens (on nine of ten occurrences, and by chance on other tokens, a thousandth as many),
a third do so only after a number, and a third anywhere by chance: for those there is no rule.

ours   services.analyzer.explain.rules.find_rules on one thread
floor  what no method can avoid: one sparse product of tokens and codes (scipy, float32), which
       gives the mean activation of every feature on every token, but chooses nothing

Both run in turn in this process; time is the median of the rounds, memory the process's peak.
Scores are Pearson's r on odd contexts, beside the score of the planted tokens themselves.

Z: entries of sparse codes.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from services.analyzer.codes.codes import Codes
from services.analyzer.explain.rules import Rule, find_rules
from shared.data.token_stream import HeldOut

VOCABULARY, CONTEXT = 32_000, 256
PLANTED = 1_000  # the most common tokens, of which the sets are made
NUMBERS = 3  # every third token of the vocabulary is a number
FIRES, CHANCE = 0.9, 0.001
SAMPLE = 100  # features of each kind that are scored


def stream_of(rng: np.random.Generator, tokens: int) -> HeldOut:
    """Tokens by Zipf's law, in one corpus."""
    shares = 1 / (np.arange(VOCABULARY) + 10.0)
    ids = rng.choice(VOCABULARY, tokens // CONTEXT * CONTEXT, p=shares / shares.sum())
    return HeldOut(ids.reshape(-1, CONTEXT), np.zeros(tokens // CONTEXT, np.int64))


def planted(
    rng: np.random.Generator, ids: Any, places_of: list[Any], kind: int, density: float
) -> tuple[Any, Any, set[int]]:
    """Where a feature fires and how strongly, two arrays [firings], and its planted tokens.

    Kind 0 fires on its tokens, kind 1 on its tokens after a number; kind 2 has none.
    """
    tokens: set[int] = set()
    where = np.empty(0, np.int64)
    if kind < 2:
        drawn = rng.choice(PLANTED, int(rng.integers(1, 7)), replace=False)
        tokens = {int(token) for token in drawn}
        where = np.concatenate([places_of[token] for token in sorted(tokens)])
        if kind == 1:
            where = where[(where > 0) & (ids[where - 1] % NUMBERS == 0)]
        where = where[rng.random(len(where)) < FIRES]
    else:
        where = rng.integers(0, len(ids), int(density * len(ids)))
    noise = rng.integers(0, len(ids), int(CHANCE * len(where)) + 1)
    where = np.unique(np.concatenate([where, noise]))
    return where, rng.exponential(1.0, len(where)) + 1.0, tokens


def codes_of(
    rng: np.random.Generator, stream: HeldOut, features: int, l0: float
) -> tuple[Codes, list[set[int]]]:
    """Codes of planted features, and their planted tokens. Features that fire by chance bring the
    L0 to about `l0`.
    """
    ids = stream.tokens_CT.reshape(-1)
    order = np.argsort(ids, kind="stable")
    cuts = np.searchsorted(ids[order], np.arange(VOCABULARY + 1))
    places_of = [order[cuts[token] : cuts[token + 1]] for token in range(VOCABULARY)]
    columns, sets = [], []
    for feature in range(features):
        density = 1.5 * l0 / features
        where, strength, tokens = planted(rng, ids, places_of, feature % 3, density)
        columns.append((where, strength))
        sets.append(tokens)
    token_Z = np.concatenate([where for where, _ in columns])
    feature_Z = np.repeat(np.arange(features), [len(where) for where, _ in columns])
    by_token = np.lexsort((feature_Z, token_Z))
    values = np.concatenate([strength for _, strength in columns])[by_token].astype(np.float32)
    starts = np.searchsorted(token_Z[by_token], np.arange(len(ids) + 1))
    return Codes(starts, feature_Z[by_token].astype(np.int32), values, features), sets


def floor(codes: Codes, stream: HeldOut) -> float:
    """Seconds that the sums of all features at all tokens take."""
    began = time.perf_counter()
    ids = stream.tokens_CT.reshape(-1)
    ones = np.ones(len(ids), np.float32)
    at = csr_matrix((ones, (ids, np.arange(len(ids)))), (VOCABULARY, len(ids)))
    (at @ codes.matrix()).sum_duplicates()
    return time.perf_counter() - began


def ours(codes: Codes, stream: HeldOut, texts: list[str]) -> tuple[float, list[Rule | None]]:
    """The seconds that finding the rules takes, and the rules."""
    began = time.perf_counter()
    rules = find_rules(codes, stream, texts, np.arange(codes.width))
    return time.perf_counter() - began, rules


def scores(
    codes: Codes, stream: HeldOut, texts: list[str], rules: list[Rule | None], sets: list[set[int]]
) -> dict[str, float]:
    """Mean Pearson correlations on the odd contexts, of the rules and of the planted tokens.

    Up to SAMPLE features of each kind count; a feature without a rule has 0.
    """
    contexts, context = stream.tokens_CT.shape
    places = np.arange(contexts * context).reshape(contexts, context)[1::2].reshape(-1)
    ids = stream.tokens_CT.reshape(-1)
    by_feature = codes.by_feature()
    means: dict[str, float] = {}
    for kind, name in enumerate(("token_sets", "with_a_condition", "by_chance")):
        of_rules, of_truth = [], []
        for feature in range(kind, len(rules), 3)[:SAMPLE]:
            truth = by_feature.at(feature, places)
            rule = rules[feature]
            of_rules.append(r(rule.simulate(stream, texts, places), truth) if rule else 0.0)
            if kind == 2:
                continue
            fires = np.isin(ids[places], list(sets[feature]))
            if kind == 1:
                fires &= ids[np.maximum(places - 1, 0)] % NUMBERS == 0
            of_truth.append(r(fires.astype(np.float64), truth))
        means[f"score_{name}"] = round(float(np.mean(of_rules)), 3)
        if kind < 2:
            means[f"score_{name}_if_known"] = round(float(np.mean(of_truth)), 3)
    return means


def r(x: Any, y: Any) -> float:
    """Pearson's r; 0 where one is constant."""
    vary = np.ptp(x) > 0 and np.ptp(y) > 0
    return float(np.corrcoef(x.astype(np.float64), y.astype(np.float64))[0, 1]) if vary else 0.0


def main() -> None:
    """Time and score the rules; print a JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=4096)
    parser.add_argument("--tokens", type=int, default=500_000)
    parser.add_argument("--l0", type=float, default=32.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    stream = stream_of(rng, options.tokens)
    codes, sets = codes_of(rng, stream, options.features, options.l0)
    texts = [
        f" {number}" if number % NUMBERS == 0 else f" t{number}" for number in range(VOCABULARY)
    ]
    seconds, least = [], []
    rules: list[Rule | None] = []
    for _ in range(options.rounds):
        least.append(floor(codes, stream))
        taken, rules = ours(codes, stream, texts)
        seconds.append(taken)
    report = {
        "features": options.features,
        "tokens": stream.tokens,
        "firings": codes.entries,
        "l0": round(codes.entries / stream.tokens, 1),
        "seconds": round(statistics.median(seconds), 2),
        "floor_seconds": round(statistics.median(least), 2),
        "times_the_floor": round(statistics.median(seconds) / statistics.median(least), 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
        **scores(codes, stream, texts, rules, sets),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
