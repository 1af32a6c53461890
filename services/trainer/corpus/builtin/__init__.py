"""Corpora that come with the project: seeded generators, and the interpreter's own source."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator
from itertools import islice

from services.trainer.corpus.builtin.grammar import Document, Generator

MODULES = {"python-stdlib": "python_stdlib", "baby": "baby", "stories": "stories", "lua": "lua"}
DIGEST_DOCUMENTS = 500


def generator(name: str) -> Generator:
    """The function from a seed to the documents of a built-in corpus; KeyError if there is none."""
    documents: Generator = importlib.import_module(f"{__name__}.{MODULES[name]}").documents
    return documents


def documents(name: str, seed: int) -> Iterator[Document]:
    """The documents of a built-in corpus; without end except for python-stdlib."""
    return generator(name)(seed)


def generated_digest(name: str) -> str:
    """sha256 (hex) over the first 500 documents of seed 0, texts and spans."""
    digest = hashlib.sha256()
    for document in islice(documents(name, 0), DIGEST_DOCUMENTS):
        digest.update(repr((document.text, [tuple(span) for span in document.spans])).encode())
    return digest.hexdigest()
