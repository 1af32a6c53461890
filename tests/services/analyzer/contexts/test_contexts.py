"""Contexts, statistics and label scores of features."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analyzer.codes import labels as label_scores
from services.analyzer.codes.labels import joined, positives, score_labels
from services.analyzer.codes.readable import readable_tokens
from services.analyzer.codes.windows import bins_of, sample_firings, top_firings, window_starts
from services.analyzer.contexts import logits
from services.analyzer.contexts import stage as contexts
from services.analyzer.contexts.feature_table import features_table
from services.analyzer.contexts.stage import run
from shared.data.token_stream import HeldOut
from shared.lm.dictionary import load_dictionary
from shared.lm.load import load_model
from shared.stages.stage import Leave, StageError
from tests.support.planted import (
    Artifact,
    codes_of,
    encode_artifact,
    firing,
    tokenizer_artifact,
    tokens_artifact,
)
from tests.support.reading import dictionary_artifact, reading_artifacts
from tests.support.stages import make_stage, run_stage

CONTEXT, BLOCKS, WINDOW = 16, 40, 6
PARAMETERS = {
    "layer": 0, "tokens": 10**6, "context": CONTEXT, "window": WINDOW, "top": 4, "samples": 5,
    "logits": 3,
}  # fmt: skip
WORDS = ["<end>", " the", "x", " =", "\n", "ä", *[f" w{i}" for i in range(20)]]
EQUALS = 3


# ------------------------------------------------------------------------------ windows


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 500))
def test_a_window_contains_its_position_and_stays_in_its_context(
    context: int, window: int, position: int
) -> None:
    window = min(context, window)
    start = int(window_starts(np.array([position]), context, window)[0])
    assert start <= position < start + window
    assert start // context == (start + window - 1) // context == position // context


def test_two_thirds_of_a_window_lie_before_its_position() -> None:
    assert window_starts(np.array([50]), 100, 24).tolist() == [34]


@given(st.integers(0, 2**32 - 1), st.integers(1, 80))
@settings(max_examples=60, deadline=None)
def test_top_windows_are_the_strongest_that_do_not_overlap(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    positions = np.sort(rng.choice(200, count, replace=False))
    values = rng.integers(1, 9, count).astype(float)
    starts = window_starts(positions, 50, 6)
    chosen = top_firings(positions, values, starts, 5, 6)
    assert chosen[0] == np.argmax(values)
    assert (np.diff(values[chosen]) <= 0).all()
    assert (np.diff(np.sort(starts[chosen])) >= 6).all()
    free = [m for m in range(count) if (np.abs(starts[chosen] - starts[m]) >= 6).all()]
    assert len(chosen) == 5 or not free
    assert all(values[m] <= values[chosen[-1]] for m in free)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_top_windows_of_a_feature_with_bursts_equal_a_search_over_all_firings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positions = np.sort(rng.choice(4000, 1500, replace=False))
    # The strongest firings stand together, so the few that are looked at first do not do.
    values = np.where(positions % 1000 < 250, rng.integers(3, 6, 1500), rng.random(1500))
    starts = window_starts(positions, 1000, 200)
    chosen: list[int] = []
    for place in sorted(range(1500), key=lambda m: (-values[m], positions[m])):
        if all(abs(starts[place] - starts[other]) >= 200 for other in chosen):
            chosen.append(place)
    assert top_firings(positions, values, starts, 8, 200).tolist() == chosen[:8]
    assert top_firings(positions, values, starts, 0, 200).tolist() == []


def test_the_strongest_activation_is_in_the_last_of_ten_bins() -> None:
    values = np.array([0.05, 1.0, 4.99, 5.0, 9.9, 10.0], np.float32)
    assert bins_of(values).tolist() == [0, 1, 4, 5, 9, 9]
    assert bins_of(np.array([4.5e-39, 1e-38], np.float32)).tolist() == [4, 9]


def test_samples_take_every_bin_before_any_gives_a_second() -> None:
    values = np.concatenate([np.full(1000, 0.5), np.arange(1.5, 11)]).astype(np.float32)
    chosen = sample_firings(values, 12, (7,))
    assert len(set(chosen.tolist())) == 12
    assert set(bins_of(values)[chosen].tolist()) == set(bins_of(values).tolist())
    assert (np.diff(values[chosen]) <= 0).all()


def test_samples_depend_on_the_seed_alone() -> None:
    values = np.random.default_rng(0).random(500) + 0.01
    first = sample_firings(values, 8, (1, 2))
    assert (first == sample_firings(values, 8, (1, 2))).all()
    assert (first != sample_firings(values, 8, (1, 3))).any()
    assert sorted(sample_firings(values[:3], 8, (1,)).tolist()) == [0, 1, 2]


# ------------------------------------------------------------------------------- tokens


def test_byte_level_tokens_read_as_text(tmp_path: Path) -> None:
    words = ["<end>", " the", "\n\t", "ä", "\x00"]
    directory, _ = tokenizer_artifact(tmp_path / "tokenizer", words)
    assert readable_tokens(directory / "tokenizer.json") == words


def test_half_a_character_shows_its_bytes_and_sentencepiece_marks_are_spaces(
    tmp_path: Path,
) -> None:
    from tokenizers import Tokenizer, decoders, models

    half = Tokenizer(models.BPE({"Ã": 0, "¤": 1, "é": 2}, []))
    half.decoder = decoders.ByteLevel()
    half.add_special_tokens(["<ä>"])
    half.save(str(tmp_path / "half.json"))
    assert readable_tokens(tmp_path / "half.json") == ["\\xc3", "\\xa4", "\\xe9", "<ä>"]
    pieces = Tokenizer(models.BPE({"▁the": 0, "<0x0A>": 1, "<0xC3>": 2, "x": 4}, []))
    pieces.save(str(tmp_path / "pieces.json"))
    assert readable_tokens(tmp_path / "pieces.json") == [" the", "\n", "\\xc3", "", "x"]


# ------------------------------------------------------------------------------- labels


def slow_scores(dense: Any, truth: Any, measuring: Any) -> list[tuple[float, float, float]]:
    """(chosen F1, measured precision, measured recall) of each feature, threshold by threshold."""
    found = []
    for column in dense.T:
        best = (0.0, np.inf)
        for threshold in sorted(set(column[~measuring & (column > 0)]), reverse=True):
            fires = (column >= threshold) & ~measuring
            f1 = 2 * (fires & truth).sum() / (fires.sum() + (truth & ~measuring).sum())
            if f1 > best[0]:
                best = (f1, threshold)
        fires = (column >= best[1]) & measuring & (best[0] > 0)
        right = (fires & truth).sum()
        found.append((best[0], right / max(1, fires.sum()), right / (truth & measuring).sum()))
    return found


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_thresholds_are_chosen_on_one_half_and_measured_on_the_other(seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    truth, measuring = rng.random(60) < 0.3, np.arange(60) % 2 == 1
    truth[[0, 1]] = True
    dense = rng.integers(0, 5, (60, 6)) * (rng.random((60, 6)) < 0.5) / 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_scores, "BLOCK_ENTRIES", block)
        parts = score_labels(codes_of(dense).by_feature(), {"it": truth}, measuring)
        score = joined([part for _, part in parts])["it"]
    expected = slow_scores(dense, truth, measuring)
    for feature, (chosen_f1, precision, recall) in enumerate(expected):
        assert score.chosen_f1_F[feature] == pytest.approx(chosen_f1)
        if chosen_f1 > 0:
            assert score.precision_F[feature] == pytest.approx(precision)
            assert score.recall_F[feature] == pytest.approx(recall)
            both = precision + recall
            f1 = 2 * precision * recall / both if both else 0
            assert score.f1_F[feature] == pytest.approx(f1)


def test_a_label_of_only_one_half_is_not_scored() -> None:
    dense = firing(np.random.default_rng(0), 20, 3, 0.5)
    truth = np.zeros(20, bool)
    truth[4] = True
    parts = score_labels(codes_of(dense).by_feature(), {"it": truth}, np.arange(20) % 2 == 1)
    assert joined([part for _, part in parts]) == {}


def test_corpora_share_labels_by_name_and_others_are_negative() -> None:
    bits = np.array([[1, 2, 3], [1, 0, 2], [3, 3, 3]], np.uint32)
    found = positives(bits, np.array([0, 1, 2]), [["loop", "call"], ["call", "loop"], []])
    assert found["loop"].tolist() == [True, False, True, False, False, True, *[False] * 3]
    assert found["call"].tolist() == [False, True, True, True, False, False, *[False] * 3]
    assert list(found) == ["call", "loop"]


# ---------------------------------------------------------------------- the whole stage


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Two corpora of 20 blocks; the first has labelled `=` tokens. A model of 4 features."""
    tmp_path = tmp_path_factory.mktemp("corpora")
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, len(WORDS), (BLOCKS, CONTEXT))
    tokens[20:][tokens[20:] == EQUALS] = 0
    labels = {"assignment": tokens[:20] == EQUALS}
    return {
        "tokens/0": tokens_artifact(tmp_path / "first", tokens[:20], labels),
        "tokens/1": tokens_artifact(tmp_path / "second", tokens[20:]),
        "tokenizer": tokenizer_artifact(tmp_path / "tokenizer", WORDS),
        **reading_artifacts(tmp_path, 4),
    }


def stream_of(corpora: dict[str, Artifact]) -> Any:
    return np.concatenate(
        [np.load(corpora[f"tokens/{n}"][0] / "validation.npy").reshape(-1) for n in (0, 1)]
    )


def planted(corpora: dict[str, Artifact]) -> Any:
    """Dense codes: noise, the `=` detector, the detector with extra weak firings, a dead one."""
    rng = np.random.default_rng(1)
    is_equals = stream_of(corpora) == EQUALS
    noise = firing(rng, len(is_equals), 1, 0.3)[:, 0]
    detector = is_equals * (1 + rng.random(len(is_equals)))
    loose = np.where(is_equals, detector, 0.4 * (rng.random(len(is_equals)) < 0.3))
    return np.stack([noise, detector, loose, 0 * noise], axis=1).astype(np.float32)


def test_contexts_show_the_tokens_and_activations_around_each_firing(
    corpora: dict[str, Artifact], tmp_path: Path
) -> None:
    dense, stream = planted(corpora), stream_of(corpora)
    codes = encode_artifact(codes_of(dense), tmp_path / "codes")
    output, _ = run_stage(run, PARAMETERS, {**corpora, "codes": codes}, tmp_path / "contexts")
    rows = pq.read_table(output / "contexts.parquet").to_pylist()
    assert {row["feature"] for row in rows} == {0, 1, 2}
    for row in rows:
        places = np.arange(row["start"], row["start"] + WINDOW)
        assert row["tokens"] == [WORDS[token] for token in stream[places]]
        assert row["activations"] == pytest.approx(dense[places, row["feature"]].tolist())
        assert dense[row["position"], row["feature"]] > 0
        assert row["corpus"] == row["position"] // (20 * CONTEXT)
    for feature in range(3):
        own = [row for row in rows if row["feature"] == feature]
        kinds = [(row["kind"], row["rank"]) for row in own]
        assert kinds == [("top", n) for n in range(4)] + [("sample", n) for n in range(5)]
        assert dense[own[0]["position"], feature] == dense[:, feature].max()
        edges = np.linspace(0, 1, 11)[1:-1]
        for row in own:
            part = dense[row["position"], feature] / dense[:, feature].max()
            assert row["bin"] == np.searchsorted(edges, part, side="right")
        assert own[0]["bin"] == 9
        fired = dense[dense[:, feature] > 0, feature]
        filled = len(np.unique(np.digitize(fired / fired.max(), edges)))
        sampled = {row["bin"] for row in own if row["kind"] == "sample"}
        assert len(sampled) == min(5, filled)
        starts = sorted(row["start"] for row in own if row["kind"] == "top")
        assert (np.diff(starts) >= WINDOW).all()


def test_the_features_table_tells_density_strength_corpora_and_label(
    corpora: dict[str, Artifact], tmp_path: Path
) -> None:
    dense = planted(corpora)
    codes = encode_artifact(codes_of(dense), tmp_path / "codes")
    output, _ = run_stage(run, PARAMETERS, {**corpora, "codes": codes}, tmp_path / "contexts")
    rows = pq.read_table(output / "features.parquet").to_pylist()
    for row, column in zip(rows[:3], dense.T, strict=False):
        assert row["density"] == pytest.approx((column > 0).mean())
        assert row["mean"] == pytest.approx(column[column > 0].mean(), rel=1e-6)
        assert row["max"] == pytest.approx(column.max())
        first = (column[: 20 * CONTEXT] > 0).sum() / (column > 0).sum()
        assert (row["corpus_0"], row["corpus_1"]) == pytest.approx((first, 1 - first))
    assert (rows[1]["label"], rows[1]["f1"], rows[1]["corpus_0"]) == ("assignment", 1, 1)
    assert (rows[0]["label"], rows[0]["f1"]) == (None, None)
    assert [rows[3][name] for name in ("density", "mean", "max", "corpus_0")] == [0, *[None] * 3]


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 8, 10, 24]), st.sampled_from([1, 40, 10**6]))
@settings(max_examples=60, deadline=None)
def test_counts_of_firings_equal_a_walk_over_all_of_them(
    seed: int, context: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    contexts, corpora, features = 12, 3, 5
    dense = firing(rng, contexts * context, features, 0.3)
    dense[:, rng.integers(features)] = 0
    stream = HeldOut(np.zeros((contexts, context), np.uint16), np.arange(contexts) % corpora)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_scores, "BLOCK_ENTRIES", block)
        table = features_table(codes_of(dense).by_feature(), stream, corpora, {})
    for row, column in zip(table.to_pylist(), dense.T, strict=True):
        corpus, places, bins = [0] * corpora, [0] * 8, [0] * 10
        for position in np.flatnonzero(column).tolist():
            corpus[position // context % corpora] += 1
            places[position % context * 8 // context] += 1
            bins[min(9, int(10 * (float(column[position]) / float(column.max()))))] += 1
        fired = sum(bins)
        if fired == 0:
            names = ("positions", "histogram", "corpus_0", "mean", "max")
            assert [row[name] for name in names] == [None] * 5
            continue
        assert row["histogram"] == bins
        assert row["positions"] == pytest.approx([count / fired for count in places])
        shares = [row[f"corpus_{number}"] for number in range(corpora)]
        assert shares == pytest.approx([count / fired for count in corpus])
        assert row["mean"] == pytest.approx(column.sum(dtype=np.float64) / fired)
        assert row["density"] == fired / len(column)


def test_logits_name_the_tokens_that_a_feature_raises_and_lowers_most(
    corpora: dict[str, Artifact], tmp_path: Path
) -> None:
    codes = encode_artifact(codes_of(planted(corpora)), tmp_path / "codes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logits, "CHUNK_VALUES", 3 * 300)  # three features at a time, then one
        output, _ = run_stage(run, PARAMETERS, {**corpora, "codes": codes}, tmp_path / "contexts")
    rows = pq.read_table(output / "logits.parquet").to_pylist()
    expected = exact_effects(corpora)[:, : len(WORDS)]  # the model has 300 ids, the tokenizer 26
    kinds = [(kind, rank) for kind in ("raised", "lowered") for rank in range(3)]
    for feature, effects in enumerate(expected):
        own = [row for row in rows if row["feature"] == feature]
        assert [(row["kind"], row["rank"]) for row in own] == kinds
        order = np.argsort(-effects)
        assert [row["id"] for row in own] == [*order[:3], *order[::-1][:3]]
        assert [row["token"] for row in own] == [WORDS[row["id"]] for row in own]
        assert [row["effect"] for row in own] == pytest.approx(
            [effects[row["id"]] for row in own], rel=1e-4, abs=1e-6
        )
    assert len(rows) == 4 * 6


def exact_effects(corpora: dict[str, Artifact]) -> Any:
    """Direct effects [F, V] in float64: the last norm as a linear map, without its division."""
    model = load_model(corpora["model"][0]).double()
    directions = load_dictionary(corpora["dictionary"][0]).decoder_FD.double()
    down = model.model.layers[0].mlp.down_proj.weight
    effects = directions @ down.T * model.model.norm.weight @ model.lm_head.weight.T
    return (effects - effects.mean(1, keepdim=True)).detach().numpy()


def test_effects_of_equal_size_come_in_the_order_of_their_ids() -> None:
    effects = torch.tensor([[1.0, 3.0, 1.0, 3.0, -2.0, -2.0], [0.0] * 6])
    ids, values = logits._extreme(effects, 6, 1)
    assert ids.tolist() == [[1, 3, 0, 2, 4, 5], [0, 1, 2, 3, 4, 5]]
    assert values[0].tolist() == [3, 3, 1, 1, -2, -2]
    assert logits._extreme(effects, 6, -1)[0][0].tolist() == [4, 5, 0, 2, 1, 3]


def test_a_dictionary_of_another_model_is_refused(
    corpora: dict[str, Artifact], tmp_path: Path
) -> None:
    codes = encode_artifact(codes_of(planted(corpora)), tmp_path / "codes")
    inputs = {**corpora, "codes": codes}
    narrow = dictionary_artifact(tmp_path / "narrow", 4, 20)
    with pytest.raises(StageError, match=r"directions have width 20, mlp_post has 48"):
        run_stage(run, PARAMETERS, {**inputs, "dictionary": narrow}, tmp_path / "a")
    fewer = dictionary_artifact(tmp_path / "fewer", 3, 48)
    with pytest.raises(StageError, match=r"the dictionary has 3 features, the codes have 4"):
        run_stage(run, PARAMETERS, {**inputs, "dictionary": fewer}, tmp_path / "b")
    with pytest.raises(StageError, match=r"effects on the logits .* layer"):
        run_stage(run, {**PARAMETERS, "layer": 9}, inputs, tmp_path / "c")


def test_tables_are_written_in_groups_that_hold_whole_ranges_of_features(
    corpora: dict[str, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "GROUP_ROWS", 10)
    codes = encode_artifact(codes_of(planted(corpora)), tmp_path / "codes")
    output, _ = run_stage(run, PARAMETERS, {**corpora, "codes": codes}, tmp_path / "contexts")
    for name in ("contexts", "logits"):
        file = pq.ParquetFile(output / f"{name}.parquet")
        ranges = [
            file.metadata.row_group(group).column(0).statistics
            for group in range(file.num_row_groups)
        ]
        assert len(ranges) > 2
        assert all(one.max <= other.min for one, other in pairwise(ranges))


def test_a_detector_is_the_best_feature_of_its_label_at_its_threshold(
    corpora: dict[str, Artifact], tmp_path: Path
) -> None:
    codes = encode_artifact(codes_of(planted(corpora)), tmp_path / "codes")
    output, results = run_stage(run, PARAMETERS, {**corpora, "codes": codes}, tmp_path / "contexts")
    best = results["labels"]["assignment"]
    assert (best["feature"], best["f1"], best["precision"], best["recall"]) == (1, 1, 1, 1)
    rows = {row["feature"]: row for row in pq.read_table(output / "labels.parquet").to_pylist()}
    assert set(rows) == {1, 2}
    assert rows[2]["f1"] == 1
    assert rows[2]["threshold"] > 0.4


def test_the_same_inputs_give_the_same_bytes(corpora: dict[str, Artifact], tmp_path: Path) -> None:
    codes = encode_artifact(codes_of(planted(corpora)), tmp_path / "codes")
    outputs = [
        run_stage(run, PARAMETERS, {**corpora, "codes": codes}, tmp_path / name)[0]
        for name in ("a", "b")
    ]
    for name in ("contexts.parquet", "features.parquet", "labels.parquet", "logits.parquet"):
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes()


def test_a_dictionary_that_never_fires_gives_empty_tables(
    corpora: dict[str, Artifact], tmp_path: Path
) -> None:
    silent = encode_artifact(codes_of(np.zeros((BLOCKS * CONTEXT, 4))), tmp_path / "codes")
    output, results = run_stage(
        run, PARAMETERS, {**corpora, "codes": silent}, tmp_path / "contexts"
    )
    assert results["labels"] == {"assignment": None}
    assert pq.read_table(output / "contexts.parquet").num_rows == 0
    assert pq.read_table(output / "features.parquet")["density"].to_pylist() == [0] * 4


def test_codes_of_another_stream_are_refused(corpora: dict[str, Artifact], tmp_path: Path) -> None:
    codes = encode_artifact(codes_of(np.ones((7, 2))), tmp_path / "codes")
    with pytest.raises(StageError, match=r"7 token positions, but the stream .* has 640"):
        run_stage(run, PARAMETERS, {**corpora, "codes": codes}, tmp_path / "contexts")


def test_a_stage_that_is_asked_to_stop_leaves(corpora: dict[str, Artifact], tmp_path: Path) -> None:
    codes = encode_artifact(codes_of(planted(corpora)), tmp_path / "codes")
    stage = make_stage(PARAMETERS, {**corpora, "codes": codes}, tmp_path / "contexts")
    stage._stop.set()
    with pytest.raises(Leave):
        run(stage)
