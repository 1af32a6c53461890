"""What a built-in corpus says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from shared.spec.registry import Declaration


@dataclass(frozen=True, kw_only=True)
class BuiltinDeclaration(Declaration):
    """A corpus that comes with Lineament, as a spec knows it.

    `digest` stands for its text in the key of a stage: sha256 over the first 500 documents of seed
    0, texts and spans, of a generator that could go on without end; a test computes it anew. None
    for the source of the running interpreter, whose digest is computed where it is read.
    """

    digest: str | None

    @property
    def generated(self) -> bool:
        """True for text that a generator writes."""
        return self.digest is not None
