"""Stage `tokens`: packing, labels of tokens, limits, checkpoints, threads, memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from services.trainer import tokens
from services.trainer.saved_tokenizer import load_tokenizer
from services.trainer.tokens import BlockFile, label_bits, run
from shared.stages.stage import Leave, StageError
from tests.services.trainer import test_tokenizer
from tests.services.trainer.corpus import test_corpus
from tests.support.stages import make_stage, run_stage

Artifact = tuple[Path, dict[str, Any]]
ROOT = Path(__file__).parents[3]
BLOCK = 64


@pytest.fixture(scope="module")
def lua(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return test_corpus.builtin("lua", tmp_path_factory.mktemp("lua"), max_bytes=400_000)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return test_corpus.builtin(
        "python-stdlib", tmp_path_factory.mktemp("python"), max_bytes=400_000, validation=0.3
    )


@pytest.fixture(scope="module")
def tokenizer(
    lua: Artifact, python: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    return run_stage(
        test_tokenizer.run,
        {"tokenizer": {"how": "train", "vocab_size": 700}},
        {"corpus/0": lua, "corpus/1": python},
        tmp_path_factory.mktemp("tokenizer"),
    )


def pack(
    corpus: Artifact, tokenizer: Artifact, directory: Path, resume: Path | None = None, **more: Any
) -> Artifact:
    inputs = {"corpus": corpus, "tokenizer": tokenizer}
    return run_stage(run, {"block": BLOCK, **more}, inputs, directory, resume=resume)


def reference(corpus: Artifact, tokenizer: Tokenizer, end: int, split: str) -> list[int]:
    """The split's ids, one document after the other."""
    ids: list[int] = []
    for text in test_corpus.texts(corpus[0], split):
        ids += [*tokenizer.encode(text, add_special_tokens=False).ids, end]
    return ids


def test_blocks_are_the_documents_each_followed_by_end_of_text(
    lua: Artifact, tokenizer: Artifact, tmp_path: Path
) -> None:
    output, results = pack(lua, tokenizer, tmp_path)
    loaded, end = load_tokenizer(tokenizer[0]), tokenizer[1]["end_of_text"]
    for split in ("train", "validation"):
        blocks = np.load(output / f"{split}.npy", mmap_mode="r")
        want = reference(lua, loaded, end, split)
        assert (blocks.dtype, blocks.shape) == (np.uint16, (len(want) // BLOCK, BLOCK))
        assert blocks.reshape(-1).tolist() == want[: blocks.size]
        assert results[f"{split}_tokens"] == blocks.size
    text = sum(len(found.encode()) for found in test_corpus.texts(lua[0], "train"))
    assert results["bytes_per_token"] == text / len(reference(lua, loaded, end, "train"))
    assert results["labels"] == sorted(lua[1]["labels"])
    assert (results["vocab_size"], results["end_of_text"]) == (700, end)


@pytest.mark.parametrize("name", ["lua", "python"])
def test_labelled_tokens_decode_back_to_the_labelled_text(
    name: str, tokenizer: Artifact, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    corpus: Artifact = request.getfixturevalue(name)
    output, results = pack(corpus, tokenizer, tmp_path)
    ids = np.load(output / "validation.npy").reshape(-1)
    bits = np.load(output / "validation-labels.npy").reshape(-1)
    assert bits.dtype == np.uint32
    loaded = load_tokenizer(tokenizer[0])
    keywords = {"assignment": {"="}, "function-definition": {"function", "def"}}
    for label, words in (keywords | {"return": {"return"}}).items():
        chosen = bits & (1 << results["labels"].index(label)) != 0
        decoded = [loaded.decode([token]).strip() for token in ids[chosen]]
        assert set("".join(decoded).replace(" ", "")) <= set("".join(words))
        assert len(decoded) > 20
    assert not np.any(bits[ids == results["end_of_text"]])


def test_every_labelled_span_of_the_validation_split_is_found_again(
    lua: Artifact, tokenizer: Artifact, tmp_path: Path
) -> None:
    output, results = pack(lua, tokenizer, tmp_path)
    bits = np.load(output / "validation-labels.npy").reshape(-1)
    spans = [span for row in test_corpus.rows(lua[0], "validation") for span in row["spans"]]
    for label in ("assignment", "table-field"):
        found = np.count_nonzero(bits & (1 << results["labels"].index(label)))
        want = sum(span["label"] == label for span in spans)
        assert 0.97 * want <= found <= want  # the rest shorter than a block is dropped


def test_a_token_gets_the_bit_of_every_span_that_it_overlaps() -> None:
    offsets = np.array([[0, 2], [2, 5], [5, 5], [5, 6], [6, 6], [6, 9]])
    one, two = np.uint32(1), np.uint32(2)
    assert label_bits(offsets, [(2, 5, one), (4, 7, two)]).tolist() == [0, 3, 2, 2, 2, 2]
    assert label_bits(offsets, [(0, 1, one)]).tolist() == [1, 0, 0, 0, 0, 0]
    assert label_bits(offsets, []).tolist() == [0] * 6


def test_tokens_inside_a_character_get_its_label(tokenizer: Artifact) -> None:
    encoding = load_tokenizer(tokenizer[0]).encode("x = '日'")
    bits = label_bits(np.array(encoding.offsets), [(4, 7, np.uint32(1))])
    inside = [token for token, bit in zip(encoding.ids, bits, strict=True) if bit]
    assert load_tokenizer(tokenizer[0]).decode(inside).strip() == "'日'"


def test_max_tokens_is_rounded_down_to_blocks_and_limits_training_only(
    lua: Artifact, tokenizer: Artifact, tmp_path: Path
) -> None:
    all_, whole = pack(lua, tokenizer, tmp_path / "all")
    output, results = pack(lua, tokenizer, tmp_path / "some", max_tokens=10 * BLOCK + 5)
    assert results["train_tokens"] == 10 * BLOCK
    assert results["validation_tokens"] == whole["validation_tokens"]
    assert np.array_equal(np.load(output / "train.npy"), np.load(all_ / "train.npy")[:10])


def test_the_header_of_a_growing_file_stays_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    file = BlockFile(path, 2, np.uint32)
    ids = np.arange(250_001, dtype=np.uint32)
    for start in range(0, len(ids), 1777):
        file.add(ids[start : start + 1777])
    file.close()
    assert np.array_equal(np.load(path).reshape(-1), ids[:-1])


def test_a_large_vocabulary_is_stored_in_32_bits(
    lua: Artifact, tokenizer: Artifact, tmp_path: Path
) -> None:
    large = (tokenizer[0], tokenizer[1] | {"vocab_size": 70_000})
    output, _ = pack(lua, large, tmp_path / "large")
    small, _ = pack(lua, tokenizer, tmp_path / "small")
    assert np.load(output / "train.npy").dtype == np.uint32
    assert np.array_equal(np.load(output / "train.npy"), np.load(small / "train.npy"))


def test_a_resumed_stage_ends_with_the_same_bytes(
    tokenizer: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_corpus.corpus, "ROW_GROUP", 40_000)
    corpus = test_corpus.builtin("lua", tmp_path / "corpus", max_bytes=400_000)
    whole, want = pack(corpus, tokenizer, tmp_path / "whole")
    stage = make_stage(
        {"block": BLOCK}, {"corpus": corpus, "tokenizer": tokenizer}, tmp_path / "cut"
    )
    seen = 0

    def stop_after_three(*_: Any, **__: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            stage._stop.set()

    monkeypatch.setattr(stage, "progress", stop_after_three)
    with pytest.raises(Leave):
        run(stage)
    checkpoint = tmp_path / "cut/checkpoints/3"
    assert json.loads((checkpoint / "position.json").read_bytes())["groups"] == 3
    output, results = pack(corpus, tokenizer, tmp_path / "resumed", resume=checkpoint)
    assert results == want
    for name in ("train.npy", "validation.npy", "validation-labels.npy"):
        assert (output / name).read_bytes() == (whole / name).read_bytes()


# --------------------------------------------------------------------------- bad input


def test_a_split_that_does_not_fill_a_block_says_what_to_enlarge(
    lua: Artifact, tokenizer: Artifact, tmp_path: Path
) -> None:
    inputs = {"corpus": lua, "tokenizer": tokenizer}
    with pytest.raises(StageError, match=r"training split \(\d+ documents\) does not fill one"):
        run_stage(run, {"block": 10**7}, inputs, tmp_path / "train")
    with pytest.raises(StageError, match=r"validation split \(\d+ documents\).*larger validation"):
        run_stage(run, {"block": 50_000}, inputs, tmp_path / "validation")
    with pytest.raises(StageError, match="max_tokens=63 is less than one block of 64 tokens"):
        pack(lua, tokenizer, tmp_path / "most", max_tokens=63)


def test_more_labels_than_bits_are_refused(
    lua: Artifact, tokenizer: Artifact, tmp_path: Path
) -> None:
    many = (lua[0], lua[1] | {"labels": {f"label{number}": 1 for number in range(33)}})
    with pytest.raises(StageError, match="the corpus has 33 labels; at most 32"):
        pack(many, tokenizer, tmp_path)


# ------------------------------------------------------------------ threads and memory

CHILD = """
import hashlib, sys
from pathlib import Path
from services.trainer.tokens import run
from tests.support.stages import run_stage
corpus, tokenizer, out = map(Path, sys.argv[1:4])
labels = dict.fromkeys(sys.argv[4].split(","), 1)
run_stage(run, {"block": 64}, {
    "corpus": (corpus, {"labels": labels}),
    "tokenizer": (tokenizer, {"vocab_size": 700, "end_of_text": 0}),
}, out)
for name in ("train.npy", "validation.npy", "validation-labels.npy"):
    print(hashlib.sha256((out / "output" / name).read_bytes()).hexdigest())
"""


def test_the_number_of_threads_changes_nothing(
    lua: Artifact, tokenizer: Artifact, tmp_path: Path
) -> None:
    def digests(threads: int) -> str:
        environment = {k: v for k, v in os.environ.items() if k != "RAYON_NUM_THREADS"}
        arguments = [lua[0], tokenizer[0], tmp_path / str(threads), ",".join(lua[1]["labels"])]
        return subprocess.run(
            [sys.executable, "-c", CHILD, *map(str, arguments)],
            cwd=ROOT,
            env=environment | {"LINEAMENT_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout

    assert digests(1) == digests(3)
    assert len(digests(1).split()) == 3


def test_threads_follow_the_environment_unless_the_library_was_told_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINEAMENT_THREADS", "3")
    monkeypatch.setenv("RAYON_NUM_THREADS", "7")
    monkeypatch.delenv("RAYON_NUM_THREADS")
    tokens.use_all_cores()
    assert os.environ["RAYON_NUM_THREADS"] == "3"
    monkeypatch.setenv("LINEAMENT_THREADS", "5")
    tokens.use_all_cores()
    assert os.environ["RAYON_NUM_THREADS"] == "3"


def test_a_corpus_ten_times_as_large_needs_less_than_a_fifth_more_memory() -> None:
    lines = subprocess.run(
        [sys.executable, "bench/memory_growth.py", "--megabytes", "2", "--stages", "corpus,tokens"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout.splitlines()
    found = {line["stage"]: line for line in map(json.loads, lines) if "ratio" in line}
    assert set(found) == {"corpus", "tokens"}
    for line in found.values():
        assert line["peak_bytes_small"] > line["floor_bytes"]
        assert line["ratio"] < 1.2
