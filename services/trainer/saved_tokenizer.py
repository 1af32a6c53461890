"""The tokenizer of an artifact, ready to encode documents."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer


def load_tokenizer(directory: Path) -> Tokenizer:
    """The tokenizer of an artifact, for text that may contain anything.

    What looks like a special token in a document is ordinary text there: only the packing of
    documents writes end-of-text.
    """
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer
