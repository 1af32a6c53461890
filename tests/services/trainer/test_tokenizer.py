"""Stage `tokenizer`: trained, from the hub, uploaded; and what transformers makes of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from services.trainer.saved_tokenizer import load_tokenizer
from services.trainer.tokenizer import END_OF_TEXT, run
from shared.stages.stage import StageError
from tests.support.fake_hub import COMMIT, serve
from tests.support.stages import run_stage

WORDS = ["local", "function", "return", "value", "naïve", "日本", "while", "counter", "print"]
ODD = "local x = 1 -- naïve 日本\r\n\t'<|endoftext|>' \x00 🙂  end"


def corpus(directory: Path, texts: list[str]) -> tuple[Path, dict[str, Any]]:
    """A corpus artifact with a training split only."""
    directory.mkdir(parents=True)
    pq.write_table(pa.table({"text": texts}), directory / "train.parquet")
    return directory, {}


def texts(count: int, start: int = 0) -> list[str]:
    return [
        " ".join(WORDS[(number * step) % len(WORDS)] + str(number) for step in range(1, 9))
        for number in range(start, start + count)
    ]


def train(
    directory: Path, corpora: list[list[str]], **parameters: Any
) -> tuple[Path, dict[str, Any]]:
    inputs = {
        f"corpus/{number}": corpus(directory / f"corpus{number}", found)
        for number, found in enumerate(corpora)
    }
    return run_stage(
        run, {"tokenizer": {"how": "train", **parameters}}, inputs, directory / "stage"
    )


def test_a_trained_tokenizer_has_the_size_asked_for_and_loses_no_byte(tmp_path: Path) -> None:
    output, results = train(tmp_path, [texts(300)], vocab_size=400)
    assert results == {"vocab_size": 400, "end_of_text": 0}
    tokenizer = load_tokenizer(output)
    assert tokenizer.token_to_id(END_OF_TEXT) == 0
    ids = tokenizer.encode(ODD, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == ODD
    assert max(ids) < 400


def test_transformers_loads_it_and_agrees(tmp_path: Path) -> None:
    output, results = train(tmp_path, [texts(300)], vocab_size=400)
    theirs = AutoTokenizer.from_pretrained(output)
    text = texts(1, 777)[0] + "\n  return naïve\n"
    assert theirs(text)["input_ids"] == load_tokenizer(output).encode(text).ids
    assert theirs.decode(theirs(text)["input_ids"]) == text
    assert (len(theirs), theirs.eos_token_id) == (400, results["end_of_text"])


def test_end_of_text_inside_a_document_is_ordinary_text(tmp_path: Path) -> None:
    output, results = train(tmp_path, [texts(300)], vocab_size=400)
    ids = load_tokenizer(output).encode(f"a{END_OF_TEXT}b").ids
    assert results["end_of_text"] not in ids
    assert results["end_of_text"] in AutoTokenizer.from_pretrained(output)(END_OF_TEXT)["input_ids"]


def test_two_trainings_give_the_same_bytes(tmp_path: Path) -> None:
    one, _ = train(tmp_path / "one", [texts(300), texts(200, 500)], vocab_size=450)
    two, _ = train(tmp_path / "two", [texts(300), texts(200, 500)], vocab_size=450)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_the_sample_takes_corpora_in_equal_parts_up_to_max_bytes(tmp_path: Path) -> None:
    ones, twos = ["aaaa bbbb"] * 5000, ["cccc dddd"] * 5000
    output, _ = train(tmp_path, [ones, twos], vocab_size=262, max_bytes=2000)
    vocabulary = load_tokenizer(output).get_vocab()
    assert {"aaaa", "cccc"} <= set(vocabulary) or {"aa", "cc"} <= set(vocabulary)


def test_a_vocabulary_that_is_too_small_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"vocab_size=256 is too small; .* at least 257 entries"):
        train(tmp_path / "small", [texts(10)], vocab_size=256)
    with pytest.raises(StageError, match=r"gives only \d+ entries, not vocab_size=5000"):
        train(tmp_path / "large", [texts(10)], vocab_size=5000)


# ---------------------------------------------------------------------- hub and uploads


def small_tokenizer(*special: str) -> bytes:
    """A tokenizer.json over single letters, with gaps in its ids, padding and truncation."""
    letters = {letter: number for number, letter in enumerate("abc xyz")}
    tokenizer = Tokenizer(models.BPE(letters | {"last": 20}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=8)
    return str(tokenizer.to_str()).encode()


def from_hub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, bytes], **changed: str
) -> tuple[Path, dict[str, Any]]:
    wanted = {"how": "pretrained", "name": "me/tok", "revision": COMMIT, **changed}
    with serve({"models/me/tok": files}) as hub:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            huggingface_hub.constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        return run_stage(run, {"tokenizer": wanted}, {}, tmp_path)


def test_a_tokenizer_from_the_hub_keeps_its_end_of_text_and_drops_code_and_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {
        "eos_token": {"content": "</s>", "lstrip": False},
        "bos_token": "<s>",
        "auto_map": {"AutoTokenizer": ["evil.py", None]},
        "tokenizer_class": "EvilTokenizer",
    }
    files = {
        "tokenizer.json": small_tokenizer("<s>", "</s>"),
        "tokenizer_config.json": json.dumps(config).encode(),
    }
    output, results = from_hub(monkeypatch, tmp_path, files)
    tokenizer = load_tokenizer(output)
    assert results == {"vocab_size": 21, "end_of_text": tokenizer.token_to_id("</s>")}
    assert len(tokenizer.encode("abcxyzabcxyz").ids) == 12
    written = json.loads((output / "tokenizer_config.json").read_bytes())
    assert (written["eos_token"], written["bos_token"]) == ("</s>", "<s>")
    assert "auto_map" not in written
    assert AutoTokenizer.from_pretrained(output).eos_token == "</s>"


@pytest.mark.parametrize(
    ("files", "changed", "sentence"),
    [
        ({"vocab.txt": b"a"}, {}, "has no tokenizer.json"),
        ({}, {"name": "me/nothing"}, "the hub has no such repository or revision"),
        ({}, {"revision": "ba" * 20}, "the hub has no such repository or revision"),
        ({"tokenizer.json": b"{}"}, {}, "its tokenizer.json cannot be read"),
        ({"tokenizer.json": small_tokenizer("<a>", "<b>")}, {}, "special tokens are <a>, <b>"),
    ],
)
def test_a_hub_repository_that_is_no_tokenizer_is_refused(
    files: dict[str, bytes],
    changed: dict[str, str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(StageError, match=sentence):
        from_hub(monkeypatch, tmp_path, files, **changed)


def test_an_end_of_text_outside_the_vocabulary_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "tokenizer.json": small_tokenizer("<s>"),
        "special_tokens_map.json": b'{"eos_token": "<gone>"}',
    }
    with pytest.raises(StageError, match="end-of-text token '<gone>' is not in its vocabulary"):
        from_hub(monkeypatch, tmp_path, files)


def uploaded(content: bytes, directory: Path) -> tuple[Path, dict[str, Any]]:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "upload"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    wanted = {"how": "upload", "digest": digest}
    return run_stage(run, {"tokenizer": wanted}, {}, directory, {digest: path})


def test_an_uploaded_tokenizer_is_used_with_its_usual_or_only_end_of_text(tmp_path: Path) -> None:
    for number, special in enumerate((["<s>", "</s>", "<pad>"], ["<stop>"])):
        output, results = uploaded(small_tokenizer(*special), tmp_path / str(number))
        end = "</s>" if "</s>" in special else "<stop>"
        assert results["end_of_text"] == load_tokenizer(output).token_to_id(end)


@pytest.mark.parametrize("content", [b"{}", b"no json", b'{"model": {"vocab": 3}}'])
def test_an_upload_that_is_no_tokenizer_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"not a tokenizer\.json|cannot be read"):
        uploaded(content, tmp_path)
