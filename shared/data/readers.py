"""Read the documents of uploaded files one at a time, in memory that does not grow with the file.

The API reads an upload to its end to check it, and the corpus stage reads it to use it. Both run
this code, so an upload that was accepted does not fail later.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

MAX_DOCUMENT = 16 * 2**20  # bytes of one document, or of one line of JSONL
TEXT_PIECE = 8 * 2**10  # characters after which a plain text file is cut at the next blank line
PARQUET_ROWS = 128  # rows decoded at a time
PARQUET_BUFFER = 2**20  # bytes of a column chunk read ahead

Skipped = Counter[str]  # why documents were left out -> how many


class UploadError(ValueError):
    """An uploaded file cannot be used; the message says where and why, not the file's name."""


def cut_at_blank_lines(lines: Iterable[str], size: int) -> Iterator[str]:
    """Cut a text into pieces of at least `size` characters that end with a blank line.

    Joined, the pieces are the text. Where there is no blank line, a piece ends with the line that
    reaches eight times `size`.
    """
    piece: list[str] = []
    length = 0
    for line in lines:
        piece.append(line)
        length += len(line)
        if length >= 8 * size or (length >= size and not line.strip()):
            yield "".join(piece)
            piece, length = [], 0
    if piece:
        yield "".join(piece)


def text_lines(file: IO[bytes], longest: int) -> Iterator[str]:
    """Lines of a UTF-8 file, endings unchanged; those above `longest` characters come in parts.

    Raises UnicodeDecodeError where the file is not UTF-8.
    """
    stream = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    return iter(partial(stream.readline, longest), "")


def read_text(path: Path, column: str, skipped: Skipped) -> Iterator[str]:
    """A plain text file, cut at blank lines into documents of about TEXT_PIECE characters."""
    del column, skipped  # all readers have the same signature
    number = 1

    def counted(lines: Iterable[str]) -> Iterator[str]:
        nonlocal number
        for line in lines:
            if "\0" in line:
                raise UploadError(f"line {number} holds a zero byte, so this is not a text file")
            yield line
            number += line.endswith(("\n", "\r"))

    with path.open("rb") as file:
        try:
            yield from cut_at_blank_lines(counted(text_lines(file, TEXT_PIECE)), TEXT_PIECE)
        except UnicodeDecodeError as error:
            raise UploadError(f"is not valid UTF-8 at or soon after line {number}") from error


def read_jsonl(path: Path, column: str, skipped: Skipped) -> Iterator[str]:
    """The text column of every line; empty lines and null texts are left out and counted."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(partial(file.readline, MAX_DOCUMENT + 1), b""), 1):
            if len(line) > MAX_DOCUMENT:
                raise UploadError(f"line {number} is longer than {MAX_DOCUMENT} bytes")
            text = _text_of_line(line, number, column) if line.strip() else None
            if text is None:
                skipped["empty"] += 1
            else:
                yield text


def _text_of_line(line: bytes, number: int, column: str) -> str | None:
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        raise UploadError(
            f"line {number} is not valid UTF-8 (byte {error.start} of the line)"
        ) from error
    except json.JSONDecodeError as error:
        raise UploadError(f"line {number} is not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # an endless number, nesting without end
        raise UploadError(f"line {number} is not JSON that can be read") from error
    if not isinstance(row, dict):
        raise UploadError(f"line {number} is not a JSON object")
    if column not in row:
        raise UploadError(f"line {number} has no field {column!r}, only {_listed(row)}")
    return _checked(row[column], f"field {column!r} of line {number}")


def read_parquet(path: Path, column: str, skipped: Skipped) -> Iterator[str]:
    """The text column of a Parquet file, page by page; null texts are left out and counted."""
    number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=PARQUET_BUFFER) as file:
            _check_text_column(file.schema_arrow, column)
            for batch in file.iter_batches(PARQUET_ROWS, columns=[column], use_threads=False):
                for value in batch.column(0):
                    number += 1
                    text = _checked(value.as_py(), f"column {column!r} of row {number}")
                    if text is None:
                        skipped["empty"] += 1
                    else:
                        yield text
    except UnicodeDecodeError as error:
        raise UploadError(f"column {column!r} of row {number} is not valid UTF-8") from error
    except UploadError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UploadError(
            f"is not a whole Parquet file: {str(error).splitlines()[0].rstrip('.')}"
        ) from error


def _check_text_column(schema: Any, column: str) -> None:
    if column not in schema.names:
        raise UploadError(f"has no column {column!r}, only {_listed(schema.names)}")
    kind = schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise UploadError(f"column {column!r} holds {kind}, not text")


def _checked(value: object, place: str) -> str | None:
    """The text, or None for null; UploadError when it is too long or no text that UTF-8 holds."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise UploadError(f"{place} is not text but {type(value).__name__}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise UploadError(f"{place} holds half of a surrogate pair: not Unicode text") from error
    if size > MAX_DOCUMENT:
        raise UploadError(f"{place} is longer than {MAX_DOCUMENT} bytes")
    return value


def _listed(names: Iterable[str]) -> str:
    texts = sorted(map(str, names))
    return ", ".join(texts[:8]) + (" .." if len(texts) > 8 else "") if texts else "no names at all"


Reader = Callable[[Path, str, Skipped], Iterator[str]]
