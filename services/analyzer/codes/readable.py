"""Tokens as a person reads them: one string per token id, spaces and line breaks as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tokenizers import Tokenizer

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def readable_tokens(path: Path) -> list[str]:
    """The text of every token id of a tokenizer.json; the list index is the id.

    The tokenizer itself would drop leading spaces if it decoded tokens one by one. A token that is
    only part of a character shows its bytes as \\xe2; an id without a token is "".
    """
    tokenizer = Tokenizer.from_file(str(path))
    decoder = json.dumps(json.loads(path.read_text(encoding="utf-8")).get("decoder"))
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    texts = [""] * (max(vocabulary.values(), default=-1) + 1)
    byte_level = '"ByteLevel"' in decoder
    for token, number in vocabulary.items():
        if token in added:
            texts[number] = token
        else:
            texts[number] = _from_byte_level(token) if byte_level else _from_sentencepiece(token)
    return texts


def _from_byte_level(token: str) -> str:
    """The text whose bytes GPT-2's printable characters stand for; other characters stay."""
    data = b"".join(bytes([_BYTES[c]]) if c in _BYTES else c.encode() for c in token)
    return data.decode("utf-8", errors="backslashreplace")


def _from_sentencepiece(token: str) -> str:
    """The text of a SentencePiece token, where U+2581 is a space and <0x0A> a byte."""
    byte = _BYTE_TOKEN.fullmatch(token)
    if byte:
        return bytes([int(byte[1], 16)]).decode("utf-8", errors="backslashreplace")
    return token.replace("▁", " ")


def _byte_stand_ins() -> dict[str, int]:
    """The character that stands for each byte in a byte-level vocabulary (Radford et al. 2019).

    Printable bytes of Latin-1 stand for themselves, the others for U+0100 onwards, in order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    stand_ins = {chr(byte): byte for byte in printable}
    stand_ins.update({chr(0x100 + place): byte for place, byte in enumerate(others)})
    return stand_ins


_BYTES = _byte_stand_ins()
