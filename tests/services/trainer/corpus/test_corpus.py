"""Stage `corpus`: what is kept, what is held out, and that nothing depends on the order."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.trainer.corpus import sources, spill
from services.trainer.corpus import stage as corpus
from services.trainer.corpus.stage import run
from shared.resolve.standard_library import python_stdlib_digest
from shared.spec.builtins import BUILTINS
from shared.stages.stage import Leave, StageError
from tests.support.fake_hub import COMMIT, serve
from tests.support.stages import make_stage, run_stage

TEXTS = [f"document {number} says {number * number}" for number in range(2000)]


def jsonl(texts: Sequence[str]) -> bytes:
    return b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)


def upload(
    content: bytes, directory: Path, kind: str = "jsonl", **options: Any
) -> tuple[Path, dict[str, Any]]:
    """Run the stage on an upload."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "upload"
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    source = {"source": "upload", "digest": digest, "format": kind}
    return run_stage(run, {"source": source, **options}, {}, directory, {digest: path})


def builtin(name: str, directory: Path, **options: Any) -> tuple[Path, dict[str, Any]]:
    """Run the stage on a built-in corpus."""
    digest = BUILTINS[name].digest or python_stdlib_digest()
    source = {"source": "builtin", "name": name, "digest": digest}
    return run_stage(run, {"source": source, **options}, {}, directory)


def rows(output: Path, split: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(output / f"{split}.parquet").to_pylist()
    return found


def texts(output: Path, split: str) -> list[str]:
    return [row["text"] for row in rows(output, split)]


def test_train_and_validation_are_disjoint_and_together_all_documents(tmp_path: Path) -> None:
    output, results = upload(jsonl(TEXTS), tmp_path)
    train, validation = texts(output, "train"), texts(output, "validation")
    assert not set(train) & set(validation)
    assert sorted(train + validation) == sorted(TEXTS)
    assert 0.03 < len(validation) / len(TEXTS) < 0.07
    assert results == {
        "train": {"documents": len(train), "bytes": sum(map(len, train))},
        "validation": {"documents": len(validation), "bytes": sum(map(len, validation))},
        "labels": {},
        "skipped": {},
    }


def test_two_runs_give_the_same_bytes(tmp_path: Path) -> None:
    one, _ = builtin("lua", tmp_path / "one", max_bytes=200_000)
    two, _ = builtin("lua", tmp_path / "two", max_bytes=200_000)
    for name in ("train.parquet", "validation.parquet"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_the_order_of_the_source_does_not_matter_and_the_seed_does(tmp_path: Path) -> None:
    shuffled = list(TEXTS)
    random.Random(3).shuffle(shuffled)
    one = texts(upload(jsonl(TEXTS), tmp_path / "one")[0], "train")
    two = texts(upload(jsonl(shuffled), tmp_path / "two")[0], "train")
    other = texts(upload(jsonl(TEXTS), tmp_path / "three", seed=7)[0], "train")
    assert one == two
    assert one != other
    assert one != sorted(one, key=TEXTS.index)


def test_a_text_is_held_out_whatever_the_seed_and_whatever_else_there_is(tmp_path: Path) -> None:
    all_ = texts(upload(jsonl(TEXTS), tmp_path / "one")[0], "validation")
    half = texts(upload(jsonl(TEXTS[:1000]), tmp_path / "two", seed=99)[0], "validation")
    assert sorted(half) == sorted(set(all_) & set(TEXTS[:1000]))


def test_fraction_keeps_the_same_documents_in_any_order_and_more_of_them_when_raised(
    tmp_path: Path,
) -> None:
    def kept(name: str, found: Sequence[str], fraction: float) -> set[str]:
        output, _ = upload(jsonl(found), tmp_path / name, fraction=fraction)
        return {*texts(output, "train"), *texts(output, "validation")}

    some = kept("some", TEXTS, 0.25)
    assert 0.2 < len(some) / len(TEXTS) < 0.3
    assert some == kept("backwards", TEXTS[::-1], 0.25)
    assert some < kept("more", TEXTS, 0.5)


def test_exact_duplicates_are_dropped_however_far_apart(tmp_path: Path) -> None:
    output, _ = upload(jsonl([*TEXTS, *TEXTS[::-1], *[TEXTS[0]] * 500]), tmp_path)
    assert sorted(texts(output, "train") + texts(output, "validation")) == sorted(TEXTS)


def test_max_bytes_limits_training_text_and_validation_in_proportion(tmp_path: Path) -> None:
    output, results = builtin("baby", tmp_path, max_bytes=300_000, validation=0.1)
    assert 0.97 * 300_000 < results["train"]["bytes"] <= 300_000
    assert 0.8 * 33_333 < results["validation"]["bytes"] <= 33_334
    assert results["train"]["bytes"] == sum(len(text.encode()) for text in texts(output, "train"))


def test_a_generated_corpus_without_a_limit_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "GENERATED_BYTES", 100_000)
    _, results = builtin("stories", tmp_path)
    assert 95_000 < results["train"]["bytes"] + results["validation"]["bytes"] < 110_000


def test_labels_are_counted_and_their_offsets_count_characters(tmp_path: Path) -> None:
    output, results = builtin("python-stdlib", tmp_path, max_bytes=400_000)
    found = rows(output, "train") + rows(output, "validation")
    counts: dict[str, int] = {}
    for row in found:
        for span in row["spans"]:
            counts[span["label"]] = counts.get(span["label"], 0) + 1
            if span["label"] == "assignment":
                assert row["text"][span["start"] : span["end"]] == "="
    assert results["labels"] == counts
    assert {"assignment", "exception", "keyword-argument"} <= set(counts)
    assert list(counts)  # some text
    assert list(results["labels"]) == sorted(results["labels"])


def test_documents_that_do_not_fit_into_memory_are_sorted_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [*TEXTS, *TEXTS[:700], *[TEXTS[5]] * 3000]
    at_once, _ = upload(jsonl(found), tmp_path / "one")
    monkeypatch.setattr(spill, "MEMORY", 4000)
    in_buckets, _ = upload(jsonl(found), tmp_path / "two")
    assert texts(in_buckets, "train") == texts(at_once, "train")
    assert not any((tmp_path / "two/scratch/spill").rglob("*.*"))


def test_uploads_of_every_format_give_the_same_corpus(tmp_path: Path) -> None:
    some = TEXTS[:200]
    table = io.BytesIO()
    pq.write_table(pa.table({"text": some}), table)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number, text in enumerate(some):
            archive.writestr(f"{number}.py", text)
    want = texts(upload(jsonl(some), tmp_path / "jsonl")[0], "train")
    for kind, content in (("parquet", table.getvalue()), ("zip", packed.getvalue())):
        assert texts(upload(content, tmp_path / kind, kind)[0], "train") == want


def test_what_was_left_out_of_an_archive_is_counted(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.py", "x = 1\n")
        archive.writestr("b.png", b"\0\1")
        archive.writestr("c.py", "  \n")
    _, results = upload(packed.getvalue(), tmp_path, "zip", validation=0.0)
    assert results["skipped"] == {"binary": 1, "empty": 1}
    assert results["train"]["documents"] == 1


# --------------------------------------------------------------------------- bad input


def failure(**call: Any) -> str:
    with pytest.raises(StageError) as failed:
        upload(**call)
    return str(failed.value)


def test_a_bad_line_names_the_upload_and_the_line(tmp_path: Path) -> None:
    content = jsonl(TEXTS[:3]) + b"oops\n"
    digest = hashlib.sha256(content).hexdigest()
    sentence = failure(content=content, directory=tmp_path)
    assert sentence.startswith(f"upload {digest[:12]} (jsonl): line 4 is not JSON: ")


def test_a_truncated_parquet_file_ends_the_stage(tmp_path: Path) -> None:
    table = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS}), table)
    content = table.getvalue()[:-100]
    sentence = failure(content=content, directory=tmp_path, kind="parquet")
    assert "(parquet): is not a whole Parquet file: " in sentence


def test_an_empty_corpus_says_why(tmp_path: Path) -> None:
    assert "is empty: it holds no text (left out: 2 empty)" in failure(
        content=jsonl(["", "  "]), directory=tmp_path / "blank"
    )
    assert "fraction=1e-09 keeps none of its 2000 documents" in failure(
        content=jsonl(TEXTS), directory=tmp_path / "fraction", fraction=1e-9
    )
    assert "fits into max_bytes=3" in failure(
        content=jsonl(TEXTS), directory=tmp_path / "limit", max_bytes=3
    )


def test_another_interpreter_or_another_generator_is_noticed(tmp_path: Path) -> None:
    for name in ("python-stdlib", "lua"):
        source = {"source": "builtin", "name": name, "digest": "ab" * 32}
        with pytest.raises(StageError, match=f"corpus {name}: the plan names the text abababab"):
            run_stage(run, {"source": source}, {}, tmp_path / name)


def test_a_stage_that_is_asked_to_stop_leaves(tmp_path: Path) -> None:
    source = {"source": "builtin", "name": "lua", "digest": BUILTINS["lua"].digest}
    stage = make_stage({"source": source}, {}, tmp_path)
    stage._stop.set()
    with pytest.raises(Leave):
        run(stage)


def test_progress_is_reported_against_what_is_to_be_read(tmp_path: Path) -> None:
    source = {"source": "builtin", "name": "lua", "digest": BUILTINS["lua"].digest}
    stage = make_stage({"source": source, "max_bytes": 100_000}, {}, tmp_path)
    run(stage)
    assert isinstance(stage.events, io.StringIO)
    events = [json.loads(line) for line in stage.events.getvalue().splitlines()]
    assert events
    want = corpus.OVERREAD * 100_000 / 0.95
    assert all(event["total"] >= want for event in events)
    assert all(event["done"] <= event["total"] for event in events)


# --------------------------------------------------------------------------------- hub

HUB_CHILD = """
import json, sys
from pathlib import Path
from services.trainer.corpus.stage import run
from shared.stages.stage import StageError
from tests.support.stages import run_stage
for number, source in enumerate(json.loads(sys.argv[1])):
    directory = Path(sys.argv[2]) / str(number)
    try:
        print(json.dumps(run_stage(run, {"source": source}, {}, directory)[1]))
    except StageError as error:
        print(json.dumps(str(error)))
"""


def test_a_data_set_is_streamed_from_the_hub_at_its_commit(tmp_path: Path) -> None:
    table = io.BytesIO()
    pq.write_table(
        pa.table({"content": [*TEXTS, None], "n": range(2001)}),
        table,
        row_group_size=99,
        compression="none",
        use_dictionary=False,
    )
    files = {"README.md": b"# some text\n", "data/train-00000.parquet": table.getvalue()}
    good = {"source": "hub", "name": "me/py", "revision": COMMIT, "text_column": "content"}
    asked = [
        good,
        good | {"text_column": "text"},
        good | {"text_column": "n"},
        good | {"split": "test"},
        good | {"name": "me/nothing"},
        good | {"revision": "ba" * 20},
        good | {"name": "me/damaged"},
    ]
    damaged = bytearray(table.getvalue())
    place = damaged.index(TEXTS[1500].encode())
    damaged[place - 2000 : place + 2000] = b"\xff" * 4000
    broken = {**files, "data/train-00000.parquet": bytes(damaged)}
    with serve({"datasets/me/py": files, "datasets/me/damaged": broken}) as hub:
        child = subprocess.run(
            [sys.executable, "-c", HUB_CHILD, json.dumps(asked), str(tmp_path)],
            cwd=Path(__file__).parents[4],
            env=os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert child.returncode == 0, child.stderr
    found = [json.loads(line) for line in child.stdout.splitlines()]
    assert found[0]["train"]["documents"] + found[0]["validation"]["documents"] == 2000
    assert found[0]["skipped"] == {"empty": 1}
    assert sorted(texts(tmp_path / "0/output", "train")) == sorted(
        set(TEXTS) - set(texts(tmp_path / "0/output", "validation"))
    )
    assert found[1] == "data set me/py: no column 'text', only content, n"
    assert found[2] == "data set me/py: column 'n' of row 1 is not text but int"
    assert "Bad split: test" in found[3]
    assert found[4].startswith(f"data set me/nothing at {COMMIT}: ")
    assert "Revision" in found[5]
    assert found[6].startswith(f"data set me/damaged at {COMMIT} is damaged after row ")
    assert all("\n" not in sentence for sentence in found[1:])
