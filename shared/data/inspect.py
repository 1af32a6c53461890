"""Inspect an uploaded file once, when it arrives: its format, and whether it can be used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.data.archives import read_tar, read_zip
from shared.data.readers import (
    Reader,
    Skipped,
    UploadError,
    read_jsonl,
    read_parquet,
    read_text,
)
from shared.data.uploads import UploadFormat, UploadInfo

__all__ = ["READERS", "UploadError", "inspect_upload", "is_tokenizer", "read_upload"]

READERS: dict[str, Reader] = {
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "text": read_text,
    "zip": read_zip,
    "tar": read_tar,
}
COMPRESSIONS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")  # gzip, bzip2, xz
SUFFIXES: dict[str, UploadFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".zip": "zip",
    ".tar": "tar",
    ".txt": "text",
}
MAX_TOKENIZER = 64 * 2**20  # bytes of a tokenizer.json; the largest in use are around 30 MB
FIRST_LINE = 2**20  # bytes of the first line, which is parsed before the whole file is


def read_upload(path: Path, kind: str, column: str, skipped: Skipped) -> Iterator[str]:
    """The documents of an upload, in the file's order.

    `skipped` counts the documents left out, by reason. Raises UploadError when the file is bad.
    """
    return READERS[kind](path, column, skipped)


def inspect_upload(
    path: Path,
    name: str,
    text_column: str = "text",
    *,
    filename: str | None = None,
    digest: str | None = None,
    formats: Sequence[UploadFormat] = (),
) -> UploadInfo:
    """Read an upload to its end for its digest, format (by content) and number of documents.

    `filename` is the file's own name where it differs from `name`, `digest` its sha256 (hex) where
    the caller has it, `formats` the formats it was declared to have (empty: any).
    Raises UploadError (a ValueError) with one sentence that starts with `name`.
    """
    try:
        kind = _format(path, filename or name)
        if formats and kind not in formats:
            raise UploadError(f"was sent as {' or '.join(formats)} but its content is {kind}")
        rows = None if kind == "tokenizer" else _count(path, kind, text_column)
    except UploadError as error:
        raise UploadError(f"{name}: {error}") from error
    if digest is None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return UploadInfo(name, digest, kind, path.stat().st_size, rows)


def _count(path: Path, kind: str, column: str) -> int:
    skipped = Skipped()
    rows = sum(bool(text.strip()) for text in read_upload(path, kind, column, skipped))
    if not rows:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
        raise UploadError("holds no text" + (f" ({why})" if why else ""))
    return rows


def _format(path: Path, name: str) -> UploadFormat:
    """The format by the first bytes; the name decides only between text and JSONL."""
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise UploadError("is empty (0 bytes)")
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return "zip"
    if head.startswith(COMPRESSIONS) or head[257:262] == b"ustar":
        return "tar"
    suffix = Path(name.lower()).suffix
    if head.lstrip().startswith(b"{") and is_tokenizer(path):
        return "tokenizer"
    kind = SUFFIXES.get(suffix)
    if kind in ("parquet", "zip", "tar"):
        raise UploadError(f"is called {suffix} but its content is not {kind}")
    if kind is None:
        kind = "jsonl" if suffix == ".json" or head.lstrip().startswith(b'{"') else "text"
    return kind


def is_tokenizer(path: Path) -> bool:
    """Whether the file is a tokenizer.json of Hugging Face tokenizers."""
    if path.stat().st_size > MAX_TOKENIZER or _starts_with_a_row(path):
        return False
    try:
        content: Any = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    model = content.get("model") if isinstance(content, dict) else None
    return isinstance(model, dict) and "vocab" in model


def _starts_with_a_row(path: Path) -> bool:
    """Whether the first of several lines is a JSON value: then the file is JSONL.

    A tokenizer.json is a single value, on one line or indented. JSONL is not parsed as a whole.
    """
    with path.open("rb") as file:
        line = file.readline(FIRST_LINE)
        if not line.endswith(b"\n") or not file.read(1):
            return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
