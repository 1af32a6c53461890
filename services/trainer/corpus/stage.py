"""Stage `corpus`: the text of one source as two Parquet files, train and validation.

Whatever happens to a document is decided by a hash of its text, so nothing depends on the order of
the source, and equal documents are treated alike:

- it is kept when its seeded hash is below `fraction`;
- it is held out when its hash *without* a seed is below `validation`: a text is held out everywhere
  or nowhere, even when two corpora or two experiments share it;
- it is written in the order of its seeded hash (see spill.py), where equal texts meet and only one
  of them stays.

`max_bytes` limits the training text, and the validation text in proportion. Reading stops soon
after there is enough, so to sample a whole source use `fraction`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from services.trainer.corpus.builtin.grammar import Document
from services.trainer.corpus.sources import describe, documents
from services.trainer.corpus.spill import Record, Spill
from shared.data.readers import Skipped
from shared.stages.stage import Leave, Stage, StageError
from shared.stages.trainer import CorpusParameters, UploadSource

OVERREAD = 1.25  # text read beyond max_bytes, so that duplicates do not leave it short
ROW_GROUP = 2**20  # bytes of text in a row group: what a reader of the file holds at a time
SCHEMA = pa.schema(
    {
        "text": pa.string(),
        "spans": pa.list_(
            pa.struct({"start": pa.int32(), "end": pa.int32(), "label": pa.string()})
        ),
    }
)


def run(stage: Stage) -> None:
    """Write train.parquet and validation.parquet; StageError when there is nothing to train on."""
    parameters = CorpusParameters.model_validate(stage.parameters)
    labels: dict[str, int] = {}  # label -> number inside the spilled spans
    skipped = Skipped()
    spill = Spill(stage.scratch / "spill")
    read = usable = 0
    for document in _read(stage, parameters, skipped):
        read += 1
        record = _record(document, parameters, labels)
        if record is not None:
            usable += 1
            spill.add(record)
    if not usable:
        raise StageError(_why_empty(parameters, read, skipped))
    train, validation = _write(stage, parameters, spill, list(labels))
    if not train.documents:
        raise StageError(
            f"{describe(parameters)} leaves no training text: it has {usable} documents, none of "
            f"which falls into the training split and fits into max_bytes={parameters.max_bytes}"
        )
    stage.results.update(
        train={"documents": train.documents, "bytes": train.bytes},
        validation={"documents": validation.documents, "bytes": validation.bytes},
        labels=dict(sorted((train.labels + validation.labels).items())),
        skipped=dict(sorted(skipped.items())),
    )


def _read(stage: Stage, parameters: CorpusParameters, skipped: Skipped) -> Iterator[Document]:
    """Documents that hold text, until there is enough of it for max_bytes."""
    enough = math.inf
    if parameters.max_bytes is not None:
        share = parameters.fraction * (1 - parameters.validation)
        enough = OVERREAD * parameters.max_bytes / share
    size = 0
    total = _expected(parameters, stage.uploads, enough)
    for document in documents(parameters, stage.uploads, skipped):
        if stage.stopping:
            raise Leave
        if document.text.strip():
            size += len(document.text)
            yield document
        else:
            skipped["empty"] += 1
        stage.progress(size, max(total, size + 1.0), "characters")
        if size >= enough:
            return


def _expected(parameters: CorpusParameters, uploads: Mapping[str, Path], enough: float) -> float:
    """Roughly how many characters will be read; 0 when that is unknown."""
    source = parameters.source
    if isinstance(source, UploadSource):
        enough = min(enough, uploads[source.digest].stat().st_size)
    return 0.0 if math.isinf(enough) else enough


def _share(digest: bytes) -> float:
    """Eight bytes of a hash as a number in [0, 1)."""
    return int.from_bytes(digest, "big") / 2**64


def _record(
    document: Document, parameters: CorpusParameters, labels: dict[str, int]
) -> Record | None:
    """The document as it is spilled; None when `fraction` leaves it out."""
    text = document.text.encode()
    digest = blake2b(text, digest_size=24, key=str(parameters.seed).encode()[:64]).digest()
    if _share(digest[16:]) >= parameters.fraction:
        return None
    triples = [
        (start, end, labels.setdefault(label, len(labels))) for start, end, label in document.spans
    ]
    return Record(digest[:16], text, np.array(triples, np.int32).tobytes())


def _held_out(text: bytes, share: float) -> bool:
    return _share(blake2b(text, digest_size=8, person=b"validation").digest()) < share


class _Split:
    """One Parquet file being written, row group by row group, up to a number of bytes."""

    def __init__(self, path: Path, limit: float, labels: list[str]) -> None:
        self._file = pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=False)
        self._limit = limit
        self._names = labels
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self.full = False
        self.documents = 0
        self.bytes = 0
        self.labels: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        """Take the document unless the split is full; the first one too many makes it full."""
        size = len(record.text)
        if self.bytes + size > self._limit:
            self.full = self.full or self.documents > 0
        if self.full or size > self._limit:
            return
        self.documents += 1
        self.bytes += size
        self._waiting.append(record)
        self._waiting_bytes += size
        if self._waiting_bytes >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write the waiting documents and the end of the file."""
        if self._waiting:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        spans = np.frombuffer(b"".join(record.spans for record in self._waiting), np.int32)
        starts, ends, numbers = spans.reshape(-1, 3).T
        offsets = np.cumsum([0, *(len(record.spans) // 12 for record in self._waiting)])
        names = pa.array(self._names, pa.string()).take(pa.array(numbers))
        for number, count in zip(*np.unique(numbers, return_counts=True), strict=True):
            self.labels[self._names[number]] += int(count)
        structs = pa.StructArray.from_arrays([starts, ends, names], ["start", "end", "label"])
        texts = pa.array([record.text for record in self._waiting], pa.binary()).cast(pa.string())
        lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)
        self._file.write_table(pa.table([texts, lists], schema=SCHEMA))
        self._waiting, self._waiting_bytes = [], 0


def _write(
    stage: Stage, parameters: CorpusParameters, spill: Spill, labels: list[str]
) -> tuple[_Split, _Split]:
    limit = math.inf if parameters.max_bytes is None else parameters.max_bytes
    rest = limit * parameters.validation / (1 - parameters.validation)
    train = _Split(stage.output / "train.parquet", limit, labels)
    validation = _Split(stage.output / "validation.parquet", rest, labels)
    for record in spill.in_order():
        if stage.stopping:
            raise Leave
        held_out = _held_out(record.text, parameters.validation)
        (validation if held_out else train).add(record)
        if train.full and validation.full:
            break
    train.close()
    validation.close()
    return train, validation


def _why_empty(parameters: CorpusParameters, read: int, skipped: Mapping[str, Any]) -> str:
    """Why there is no text."""
    if read:
        return (
            f"{describe(parameters)} is empty: fraction={parameters.fraction} keeps none of its "
            f"{read} documents"
        )
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
    return f"{describe(parameters)} is empty: it holds no text" + (
        f" (left out: {why})" if why else ""
    )
