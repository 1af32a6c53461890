"""Rules: planted features are found and named, and chance is not.

T: tokens of the stream, F: features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from services.analyzer.explain.rules import Rule, find_rules, followers
from services.analyzer.explain.rules import find as find_module
from services.analyzer.explain.rules.places import values_at
from shared.data.token_stream import HeldOut
from tests.support.planted import codes_of

CONTEXT, CONTEXTS, VOCABULARY = 32, 1250, 500
DIGITS, CAPITALS, BREAK, INDENT = range(10, 20), range(20, 60), 0, 1
COMMON = [200, 210, 220, 230]
TEXTS = ["\n", "    ", *[f"·{i}" for i in range(2, 10)], *[str(i) for i in range(10)]]
TEXTS += [f" Name{chr(97 + i % 26)}{'x' * (i // 26)}" for i in range(40)]
TEXTS += [f" w{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(VOCABULARY - 60)]
Dense = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def stream() -> HeldOut:
    rng = np.random.default_rng(1)
    frequency = np.ones(VOCABULARY)
    frequency[[BREAK, INDENT]] = 40
    frequency[COMMON] = 10
    tokens = rng.choice(VOCABULARY, CONTEXT * CONTEXTS, p=frequency / frequency.sum())
    corpus = np.repeat([0, 1], CONTEXTS // 2)
    return HeldOut(tokens.reshape(CONTEXTS, CONTEXT), corpus)


def noisy(where: npt.ArrayLike, seed: int = 0) -> Dense:
    """A feature that fires there at 2 +- .2; a firing in 50 is missing and one stands elsewhere."""
    rng = np.random.default_rng(seed)
    mask = np.asarray(where).reshape(-1)
    fires = (mask & (rng.random(mask.size) > 0.02)) | (rng.random(mask.size) < mask.mean() / 50)
    return np.where(fires, 2 + 0.2 * rng.standard_normal(mask.size), 0.0)


def learnt(stream: HeldOut, *features: Dense) -> list[Rule | None]:
    dense = np.stack(features, -1)
    return find_rules(codes_of(dense), stream, TEXTS, np.arange(len(features)), ["prose", "code"])


def odd_places(stream: HeldOut) -> npt.NDArray[np.int64]:
    contexts, context = stream.tokens_CT.shape
    return np.arange(stream.tokens).reshape(contexts, context)[1::2].reshape(-1)


def on_odd(rule: Rule | None, feature: Dense, stream: HeldOut) -> float:
    """Pearson on the contexts that the rule has not seen; 0 of no rule or a constant one."""
    if rule is None:
        return 0.0
    places = odd_places(stream)
    predicted = rule.simulate(stream, TEXTS, places)
    if predicted.min() == predicted.max() or not feature[places].any():
        return 0.0
    return float(np.corrcoef(predicted, feature[places])[0, 1])


def only(rules: Sequence[Rule | None]) -> Rule:
    assert len(rules) == 1
    assert rules[0] is not None
    return rules[0]


# --------------------------------------------------------------------------- planted features


def test_a_set_of_tokens_is_found_exactly_and_predicts_new_contexts(stream: HeldOut) -> None:
    for size in (1, 3, 8):
        wanted = np.random.default_rng(size).choice(np.arange(60, VOCABULARY), size, replace=False)
        feature = noisy(np.isin(stream.tokens_CT, wanted), size)
        rule = only(learnt(stream, feature))
        assert (rule.attribute, rule.gate) == ("token", None)
        assert rule.values == tuple(sorted(wanted.tolist()))
        assert on_odd(rule, feature, stream) >= 0.95


def test_levels_of_a_set_are_the_mean_activations_of_its_tokens(stream: HeldOut) -> None:
    # given a feature with another strength on each of three tokens
    strength = np.zeros(VOCABULARY)
    strength[[100, 200, 300]] = [1.0, 3.0, 9.0]
    feature = strength[stream.tokens_CT].reshape(-1)
    rule = only(learnt(stream, feature))
    # then the levels are (n m + mean of all) / (n + 1), n being counted on even contexts
    even = np.arange(stream.tokens).reshape(CONTEXTS, CONTEXT)[::2].reshape(-1)
    tokens, values = stream.tokens_CT.reshape(-1)[even], feature[even]
    for token, level in zip(rule.values, rule.levels, strict=True):
        here = values[tokens == token]
        assert level == pytest.approx((here.sum() + values.mean()) / (len(here) + 1), rel=1e-12)
    # and tokens outside the set have what is left
    rest = values[~np.isin(tokens, rule.values)]
    assert rule.other == pytest.approx((rest.sum() + values.mean()) / (len(rest) + 1), rel=1e-9)
    assert rule.text == "the token `·wgj`, weaker on `·wkf` or `·wob`"


def test_the_token_before_is_found(stream: HeldOut) -> None:
    before = np.roll(stream.tokens_CT, 1, axis=1)
    before[:, 0] = -1
    feature = noisy(np.isin(before, [77, 99]))
    rule = only(learnt(stream, feature))
    assert (rule.attribute, rule.values, rule.gate) == ("before", (77, 99), None)
    assert set(rule.text.split("`")[1::2]) == {"·wra", "·wnb"}
    assert rule.text.startswith("a token after `")
    assert on_odd(rule, feature, stream) >= 0.95


def test_the_first_token_and_the_late_ones_of_a_context_are_found(stream: HeldOut) -> None:
    inside = np.broadcast_to(np.arange(CONTEXT), stream.tokens_CT.shape)
    first, late = noisy(inside == 0), noisy(inside >= 24)
    rules = learnt(stream, first, late)
    assert [rule.text for rule in rules if rule] == [
        "the first token of a context",
        "a token in eighths 7 to 8 of its context",
    ]
    assert on_odd(rules[0], first, stream) >= 0.95
    assert on_odd(rules[1], late, stream) >= 0.95


def test_the_start_of_a_line_is_found_behind_its_indentation(stream: HeldOut) -> None:
    feature = noisy(line_starts(stream))
    rule = only(learnt(stream, feature))
    assert rule.text == "the first token of a line"
    assert rule.attribute == "line"
    assert on_odd(rule, feature, stream) >= 0.95


def line_starts(stream: HeldOut) -> npt.NDArray[np.bool_]:
    """Token by token: a break, then any white space, then the first other token."""
    found = np.zeros(stream.tokens_CT.shape, bool)
    for row, tokens in enumerate(stream.tokens_CT.tolist()):
        fresh = False
        for place, token in enumerate(tokens):
            if token == BREAK:
                fresh = True
            elif token != INDENT:
                found[row, place] = fresh
                fresh = False
    return found


def test_a_corpus_is_found_and_named(stream: HeldOut) -> None:
    # given a feature that fires on a third of the tokens of one corpus, whatever they are
    rng = np.random.default_rng(3)
    code = np.repeat(stream.corpus_C == 1, CONTEXT)
    feature = np.where(code & (rng.random(code.size) < 0.33), 1.0, 0.0)
    rule = only(learnt(stream, feature))
    assert rule.text == "a token of corpus code"
    # then no prediction can correlate more than sqrt((1/2) .33 / (1 - .33 / 2)): what it does
    assert on_odd(rule, feature, stream) == pytest.approx(np.sqrt(0.165 / 0.835), abs=0.03)


def test_a_set_of_tokens_within_one_corpus_takes_a_gate(stream: HeldOut) -> None:
    wanted = [90, 120, 400]
    feature = noisy(np.isin(stream.tokens_CT, wanted) & (stream.corpus_C == 1)[:, None])
    rule = only(learnt(stream, feature))
    assert (rule.attribute, rule.values) == ("token", tuple(wanted))
    assert rule.text.startswith("the tokens `·w")
    assert rule.text.endswith((", in corpus code", ", outside corpus prose"))
    assert on_odd(rule, feature, stream) >= 0.95


def test_a_token_after_certain_tokens_takes_them_as_its_gate(stream: HeldOut) -> None:
    before = np.roll(stream.tokens_CT, 1, axis=1)
    before[:, 0] = -1
    feature = noisy((stream.tokens_CT == BREAK) & np.isin(before, COMMON))
    rule = only(learnt(stream, feature))
    assert (rule.attribute, rule.values) == ("token", (BREAK,))
    assert rule.gate is not None
    assert rule.gate.attribute == "before"
    assert set(rule.gate.values) == set(COMMON)
    assert on_odd(rule, feature, stream) >= 0.95


def test_a_class_is_preferred_to_the_list_of_its_tokens(stream: HeldOut) -> None:
    digits = noisy(np.isin(stream.tokens_CT, DIGITS))
    after = np.roll(np.isin(stream.tokens_CT, CAPITALS), 1, axis=1)
    after[:, 0] = False
    rules = learnt(stream, digits, noisy(after))
    assert [rule.text for rule in rules if rule] == [
        "a number",
        "a token after a word with a capital first letter",
    ]
    assert on_odd(rules[0], digits, stream) >= 0.95


def test_a_class_at_the_start_of_a_line_needs_both_conditions(stream: HeldOut) -> None:
    feature = noisy(line_starts(stream) & np.isin(stream.tokens_CT, CAPITALS))
    rule = only(learnt(stream, feature))
    assert {rule.attribute, rule.gate.attribute if rule.gate else ""} == {
        "line", "class:capitalised",
    }  # fmt: skip
    assert on_odd(rule, feature, stream) >= 0.95


def test_a_feature_that_hardly_rests_is_not_said_to_fire_on_its_tokens_alone(
    stream: HeldOut,
) -> None:
    feature = np.where(stream.tokens_CT == BREAK, 3.0, 1.0).reshape(-1)
    text = only(learnt(stream, feature)).text
    assert text.startswith("any token, but stronger on ")


# --------------------------------------------------------------------------------- chance


def test_noise_and_shuffled_labels_are_not_predicted(stream: HeldOut) -> None:
    # given planted features whose activations are dealt out to other tokens, and pure noise
    rng = np.random.default_rng(5)
    features = []
    for seed in range(30):
        wanted = rng.choice(VOCABULARY, 1 + seed % 6, replace=False)
        features.append(rng.permutation(noisy(np.isin(stream.tokens_CT, wanted), seed)))
    for density in (0.0002, 0.001, 0.01, 0.1, 0.5):
        features += [np.where(rng.random(stream.tokens) < density, 1.0, 0) for _ in range(4)]
    rules = learnt(stream, *features)
    scores = [on_odd(*pair, stream) for pair in zip(rules, features, strict=True)]
    assert np.mean(np.abs(scores)) < 0.02
    assert np.max(np.abs(scores)) < 0.1


def test_a_token_that_is_seen_once_is_no_rule(stream: HeldOut) -> None:
    # given a feature that fires on five tokens, each one of them in an even context
    feature = np.zeros((CONTEXTS, CONTEXT))
    feature[[0, 2, 4, 6, 8], [3, 9, 20, 14, 27]] = 1.0
    assert learnt(stream, feature.reshape(-1)) == [None]


def test_only_even_contexts_are_looked_at(stream: HeldOut) -> None:
    # given features that differ on odd contexts alone
    fires = np.isin(stream.tokens_CT, [100, 101])
    feature = noisy(fires).reshape(stream.tokens_CT.shape)
    other = feature.copy()
    other[1::2] = np.random.default_rng(0).random(other[1::2].shape)
    silent = np.where(np.arange(CONTEXTS)[:, None] % 2 == 1, feature, 0)
    rules = learnt(stream, feature.reshape(-1), other.reshape(-1), silent.reshape(-1))
    assert rules[0] is not None
    assert rules[0] == rules[1]
    assert rules[2] is None


# --------------------------------------------------------------------- what a rule promises


def many_features(stream: HeldOut) -> list[Dense]:
    """Features of all kinds, on which rules with and without gates are found."""
    before = np.roll(stream.tokens_CT, 1, axis=1)
    wheres = [
        np.isin(stream.tokens_CT, [70, 80]),
        np.isin(before, [90, 91, 92]) & (stream.corpus_C == 0)[:, None],
        (stream.tokens_CT == INDENT) & np.isin(before, range(100, 150)),
        line_starts(stream) & np.isin(stream.tokens_CT, DIGITS),
        np.broadcast_to(np.arange(CONTEXT) < 5, stream.tokens_CT.shape),
    ]
    return [noisy(where, seed) for seed, where in enumerate(wheres)]


def test_a_kept_rule_gives_the_same_simulation_bit_for_bit(stream: HeldOut) -> None:
    places = odd_places(stream).reshape(-1, 16)
    for rule in learnt(stream, *many_features(stream)):
        assert rule is not None
        again = Rule.from_json(rule.to_json())
        assert again == rule
        simulated = rule.simulate(stream, TEXTS, places)
        assert simulated.dtype == np.float32
        assert simulated.shape == places.shape
        assert (simulated == again.simulate(stream, TEXTS, places)).all()
        # and a token's value does not depend on which others are asked for
        assert (simulated[::-7, 5] == rule.simulate(stream, TEXTS, places[::-7, 5])).all()


def test_rules_depend_neither_on_blocks_nor_on_what_else_is_asked(
    stream: HeldOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = many_features(stream)
    codes = codes_of(np.stack(features, -1))
    whole = find_rules(codes, stream, TEXTS, np.arange(5))
    assert find_rules(codes, stream, TEXTS, np.arange(5)) == whole
    monkeypatch.setattr(find_module, "BLOCK_FEATURES", 2)
    monkeypatch.setattr(followers, "EXPANDED", 50)
    seen: list[tuple[int, int]] = []
    parts = find_rules(
        codes, stream, TEXTS, np.arange(5), seen=lambda done, total: seen.append((done, total))
    )
    assert [rule.text for rule in parts if rule] == [rule.text for rule in whole if rule]
    assert seen == [(2, 5), (4, 5), (5, 5)]
    some = find_rules(codes, stream, TEXTS, np.array([3, 0, 3]))
    assert [rule and rule.text for rule in some] == [
        rule and rule.text for rule in (whole[3], whole[0], whole[3])
    ]


def test_a_rule_and_its_correlation_equal_a_direct_computation_fold_by_fold(
    stream: HeldOut,
) -> None:
    features = [noisy(np.isin(stream.tokens_CT, [100, 120, 140])), *many_features(stream)]
    rules = learnt(stream, *features)
    gates = {rule.gate.attribute for rule in rules if rule and rule.gate}
    assert {"before", "corpus"} <= gates  # a learnt gate and a given one
    even = np.arange(stream.tokens).reshape(CONTEXTS, CONTEXT)[::2]
    fold = np.arange(len(even)) % 4
    for rule, feature in zip(rules, features, strict=True):
        assert rule is not None
        values = feature[even]
        found = values_at(rule.attribute, stream, TEXTS, even)
        holds = rule.gate.holds(stream, TEXTS, even) if rule.gate else None
        predicted = np.zeros(even.shape)
        for number in range(4):
            told = direct(rule.values, found, holds, values, fold != number)
            predicted[fold == number] = told[fold == number]
        expected = np.corrcoef(predicted.reshape(-1), values.reshape(-1))[0, 1]
        assert rule.correlation == pytest.approx(expected, abs=1e-9)
        whole = direct(rule.values, found, holds, values, fold >= 0)
        assert rule.simulate(stream, TEXTS, even) == pytest.approx(whole, rel=1e-5)


def direct(
    listed: Sequence[int],
    found: npt.NDArray[np.int64],
    holds: npt.NDArray[np.bool_] | None,
    values: Dense,
    known: npt.NDArray[np.bool_],
) -> Dense:
    """What a table with a gate expects everywhere, from the contexts that are known."""
    mean = values[known].mean()
    level, table = np.zeros(found.shape), np.isin(found, listed)
    for value in listed:
        here = values[known][found[known] == value]
        level[found == value] = (here.sum() + mean) / (len(here) + 1)
    drawn = 2 * level[known][table[known]].mean()
    expected = level.copy()
    sides = [np.ones(found.shape, bool)] if holds is None else [holds, ~holds]
    for side in sides:
        inside, outside = side[known] & table[known], side[known] & ~table[known]
        if holds is not None:
            factor = (values[known][inside].sum() + drawn) / (level[known][inside].sum() + drawn)
            expected[side & table] *= factor
        rest = (values[known][outside].sum() + mean) / (outside.sum() + 1)
        expected[side & ~table] = rest
    return expected


def test_a_gate_splits_the_mean_of_its_table(stream: HeldOut) -> None:
    # given a token that is four times as strong in one corpus, without noise
    hit, code = stream.tokens_CT == 210, (stream.corpus_C == 1)[:, None]
    feature = np.where(hit, np.where(code, 4.0, 1.0), 0.0).reshape(-1)
    rule = only(learnt(stream, feature))
    assert rule.gate is not None
    assert rule.gate.attribute == "corpus"
    assert rule.text.startswith("the token `·wuf`")
    places = odd_places(stream)
    found = rule.simulate(stream, TEXTS, places)
    assert found == pytest.approx(feature[places], abs=0.05)


def test_nothing_to_learn_from_gives_no_rules_and_no_error() -> None:
    short = HeldOut(np.zeros((2, 4), np.int64), np.zeros(2, np.int64))
    codes = codes_of(np.ones((8, 2)))
    assert find_rules(codes, short, ["a"], np.arange(2)) == [None, None]
    assert find_rules(codes, short, ["a"], np.empty(0, np.int64)) == []
    # and a feature that is silent or constant has none either
    longer = HeldOut(np.arange(64).reshape(16, 4) % 3, np.zeros(16, np.int64))
    both = codes_of(np.stack([np.zeros(64), np.ones(64)], -1))
    assert find_rules(both, longer, ["a", "b", "c"], np.arange(2)) == [None, None]


def test_tokens_that_the_tokenizer_does_not_know_are_named_by_their_number() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 40, (300, 16))
    stream = HeldOut(tokens, np.zeros(300, np.int64))
    dense = (tokens.reshape(-1, 1) == 37).astype(float)
    rule = only(find_rules(codes_of(dense), stream, ["a", "b"], np.array([0])))
    assert rule.text == "the token `(token 37)`"
