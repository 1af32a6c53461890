"""What is known of an uploaded file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UploadFormat = Literal["jsonl", "parquet", "text", "zip", "tar", "tokenizer"]


@dataclass(frozen=True)
class UploadInfo:
    """An upload in the store: name, sha256 (hex), format, size and number of rows.

    `rows` is None where the format has none or they were not counted.
    """

    name: str
    digest: str
    format: UploadFormat
    bytes: int
    rows: int | None = None
