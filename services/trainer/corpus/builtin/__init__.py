"""Corpora that come with the project: seeded generators, and the interpreter's own source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice

from services.trainer.corpus.builtin.grammar import Document, Generator
from shared.spec.builtins import BUILTINS
from shared.spec.registry import defined, implementations

DIGEST_DOCUMENTS = 500


# A corpus is the function `documents` of its module, from a seed to its documents.
GENERATORS: Mapping[str, Generator] = implementations(
    BUILTINS, __name__, __path__, lambda module: defined(module, "documents")
)


def documents(name: str, seed: int) -> Iterator[Document]:
    """The documents of a built-in corpus; without end where they are generated."""
    return GENERATORS[name](seed)


def generated_digest(name: str) -> str:
    """sha256 (hex) over the first 500 documents of seed 0, texts and spans."""
    digest = hashlib.sha256()
    for document in islice(documents(name, 0), DIGEST_DOCUMENTS):
        digest.update(repr((document.text, [tuple(span) for span in document.spans])).encode())
    return digest.hexdigest()
