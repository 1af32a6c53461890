"""Stage `tokens`: a corpus as packed blocks of token ids, with the labels of its validation split.

Documents are read row group by row group and encoded on all cores; ids are written block by block,
so memory does not grow with the corpus. Documents keep the order of the corpus, so the result does
not depend on the number of threads.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from tokenizers import Encoding, Tokenizer

from services.trainer.saved_tokenizer import load_tokenizer
from shared.stages.stage import Leave, Stage, StageError
from shared.stages.trainer import TokensParameters

MAX_LABELS = 32  # bits of a label word
LABELLED_ROWS = 32  # validation documents at a time: offsets take twenty times the memory of ids
Ids = npt.NDArray[np.unsignedinteger[Any]]


class BlockFile:
    """A .npy file [blocks, block] that grows; ids that do not yet fill a block wait.

    `save` and `restore` carry its blocks and waiting ids over to a later attempt.
    """

    def __init__(self, path: Path, block: int, dtype: npt.DTypeLike) -> None:
        self.block = block
        self.blocks = 0
        self.dtype = np.dtype(dtype)
        self._waiting: Ids = np.empty(0, self.dtype)
        self._file: IO[bytes] = path.open("w+b")
        self._header()

    def _header(self) -> None:
        """Write the header, which numpy pads so that the first axis can grow in place."""
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file,
            {
                "descr": np.lib.format.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (self.blocks, self.block),
            },
        )

    def add(self, ids: Ids, most: int | None = None) -> None:
        """Append ids, up to `most` blocks in all."""
        ids = np.concatenate([self._waiting, ids.astype(self.dtype, copy=False)])
        count = len(ids) // self.block
        if most is not None:
            count = min(count, most - self.blocks)
        self._file.write(ids[: count * self.block].tobytes())
        self._waiting = ids[count * self.block :]
        self.blocks += count

    def close(self) -> None:
        """Write the number of blocks into the header and close the file."""
        self._header()
        self._file.close()

    def save(self, path: Path) -> None:
        """Copy the ids so far, including the waiting ones."""
        self._file.flush()
        start = self._data_start()
        with path.open("wb") as copy, Path(self._file.name).open("rb") as source:
            source.seek(start)
            shutil.copyfileobj(source, copy, 2**20)
            copy.write(self._waiting.tobytes())

    def restore(self, path: Path) -> None:
        """Load what `save` wrote into this file, which must be empty."""
        with path.open("rb") as source:
            while data := source.read(2**20):
                self.add(np.frombuffer(data, self.dtype))

    def _data_start(self) -> int:
        return self._file.tell() - self.blocks * self.block * self.dtype.itemsize


@dataclass
class Position:
    """How far the training split has been read: row groups, and what they held."""

    groups: int = 0
    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0


def run(stage: Stage) -> None:
    """Write train.npy, validation.npy and validation-labels.npy.

    Raises StageError when a split does not fill one block, or the corpus has more labels than fit
    into a word.
    """
    parameters = TokensParameters.model_validate(stage.parameters)
    corpus, tokenizer_input = stage.input("corpus"), stage.input("tokenizer")
    vocab_size = int(tokenizer_input.results["vocab_size"])
    end = int(tokenizer_input.results["end_of_text"])
    labels = sorted(corpus.results["labels"])
    if len(labels) > MAX_LABELS:
        raise StageError(f"the corpus has {len(labels)} labels; at most {MAX_LABELS} are possible")
    use_all_cores()
    packer = Packer(stage, parameters, load_tokenizer(tokenizer_input.path), vocab_size, end)
    train = packer.train(corpus.path / "train.parquet")
    validation = packer.validation(corpus.path / "validation.parquet", labels)
    stage.results.update(
        train_tokens=packer.train_blocks * parameters.block,
        validation_tokens=validation * parameters.block,
        vocab_size=vocab_size,
        end_of_text=end,
        labels=labels,
        bytes_per_token=train.text_bytes / train.tokens,
    )


def use_all_cores() -> None:
    """Let the tokenizers library use LINEAMENT_THREADS threads, or all cores.

    It must be called before the library's first batch, which creates its thread pool for good.
    """
    threads = os.environ.get("LINEAMENT_THREADS")
    if threads:
        os.environ.setdefault("RAYON_NUM_THREADS", threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"


class Packer:
    """Encodes documents and packs their ids."""

    def __init__(
        self,
        stage: Stage,
        parameters: TokensParameters,
        tokenizer: Tokenizer,
        vocab_size: int,
        end: int,
    ) -> None:
        self._stage = stage
        self._block = parameters.block
        self._max_tokens = parameters.max_tokens
        self._tokenizer = tokenizer
        self._dtype = np.uint16 if vocab_size <= 2**16 else np.uint32
        self._end = end
        self.train_blocks = 0

    def train(self, path: Path) -> Position:
        """Write train.npy, resuming from and saving checkpoints; returns how much was read."""
        stage = self._stage
        most = None if self._max_tokens is None else self._max_tokens // self._block
        if most == 0:
            raise StageError(
                f"max_tokens={self._max_tokens} is less than one block of {self._block} tokens"
            )
        packed = BlockFile(stage.output / "train.npy", self._block, self._dtype)
        position = Position()
        if stage.resume is not None:
            position = Position(**json.loads((stage.resume / "position.json").read_bytes()))
            packed.restore(stage.resume / "tokens.bin")
        with pq.ParquetFile(path, pre_buffer=False) as file:
            self._train_groups(file, packed, position, most)
        packed.close()
        self._check_whole_block("training", packed, position.documents)
        self.train_blocks = packed.blocks
        return position

    def _train_groups(
        self, file: pq.ParquetFile, packed: BlockFile, position: Position, most: int | None
    ) -> None:
        stage = self._stage
        begin, before = time.monotonic(), position.tokens
        while position.groups < file.num_row_groups and packed.blocks != most:
            texts = file.read_row_group(position.groups, columns=["text"], use_threads=False)[
                "text"
            ].to_pylist()
            ids = self._ids(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False))
            packed.add(ids, most)
            position.groups += 1
            position.documents += len(texts)
            position.text_bytes += sum(len(text.encode()) for text in texts)
            position.tokens += len(ids)
            speed = (position.tokens - before) / (time.monotonic() - begin)
            stage.progress(
                position.groups, file.num_row_groups, "row groups", tokens_per_second=speed
            )
            if stage.checkpoint_due():
                stage.save_checkpoint(position.groups, lambda to: _save(to, packed, position))
                stage.leave_if_asked()

    def validation(self, path: Path, labels: Sequence[str]) -> int:
        """Write validation.npy and validation-labels.npy; returns the number of blocks."""
        packed = BlockFile(self._stage.output / "validation.npy", self._block, self._dtype)
        marked = BlockFile(self._stage.output / "validation-labels.npy", self._block, np.uint32)
        bits = {label: np.uint32(1 << number) for number, label in enumerate(labels)}
        documents = 0
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(LABELLED_ROWS, use_threads=False):
                if self._stage.stopping:
                    raise Leave
                rows = batch.to_pylist()
                encodings = self._tokenizer.encode_batch(
                    [row["text"] for row in rows], add_special_tokens=False
                )
                packed.add(self._ids(encodings))
                marked.add(np.concatenate(list(_labels(rows, encodings, bits))))
                documents += len(rows)
        packed.close()
        marked.close()
        self._check_whole_block("validation", packed, documents)
        return packed.blocks

    def _ids(self, encodings: Sequence[Encoding]) -> Ids:
        """Ids of the documents [tokens], with end-of-text after each."""
        ids: list[int] = []
        for encoding in encodings:
            ids += encoding.ids
            ids.append(self._end)
        return np.array(ids, self._dtype)

    def _check_whole_block(self, split: str, packed: BlockFile, documents: int) -> None:
        if packed.blocks == 0:
            raise StageError(
                f"the {split} split ({documents} documents) does not fill one block of "
                f"{self._block} tokens; use more text"
                + (", a larger validation share" if split == "validation" else "")
                + " or a smaller block"
            )


def _save(directory: Path, packed: BlockFile, position: Position) -> None:
    packed.save(directory / "tokens.bin")
    (directory / "position.json").write_text(json.dumps(asdict(position)))


def _labels(
    rows: Sequence[dict[str, Any]], encodings: Sequence[Encoding], bits: dict[str, np.uint32]
) -> Iterator[npt.NDArray[np.uint32]]:
    """For each document, the label bits of its tokens and 0 for its end-of-text: [tokens + 1]."""
    for row, encoding in zip(rows, encodings, strict=True):
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        spans = [(span["start"], span["end"], bits[span["label"]]) for span in row["spans"]]
        yield np.append(label_bits(offsets, spans), np.uint32(0))


def label_bits(
    offsets: npt.NDArray[np.int64], spans: Sequence[tuple[int, int, np.uint32]]
) -> npt.NDArray[np.uint32]:
    """For each token, the bits of all spans that it overlaps: uint32 [tokens].

    `offsets` [tokens, 2] are the start and end of each token in characters; `spans` are (start,
    end, bit).
    """
    bits = np.zeros(len(offsets), np.uint32)
    if not spans:
        return bits
    starts, ends = offsets.T
    # The pieces of a character that has several tokens share its offsets, so both are sorted.
    firsts = np.searchsorted(ends, [start for start, _, _ in spans], side="right")
    lasts = np.searchsorted(starts, [end for _, end, _ in spans], side="left")
    for first, last, (_, _, bit) in zip(firsts, lasts, spans, strict=True):
        bits[first:last] |= bit
    return bits
