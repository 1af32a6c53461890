"""Token streams cut from packed blocks: which contexts are read, in which order.

Trainer, SAE and analyzer read tokens only through this file, so that "the same token positions"
means the same everywhere.
B: contexts in a batch, C: contexts of a held-out stream, T: tokens of a context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.arrays import IntArray


def _contexts(blocks: npt.NDArray[np.integer], context: int) -> npt.NDArray[np.integer]:
    """The packed blocks as [contexts, context]; a remainder shorter than a context is dropped."""
    flat = blocks.reshape(-1)
    whole = len(flat) // context
    return flat[: whole * context].reshape(whole, context)


def load_contexts(path: Path, context: int) -> npt.NDArray[np.integer]:
    """Memory-map a packed file ([blocks, block]) and view it as [contexts, context]."""
    return _contexts(np.load(path, mmap_mode="r"), context)


@dataclass(frozen=True)
class HeldOut:
    """A held-out stream: tokens [C, T] and the corpus number of each context [C]."""

    tokens_CT: npt.NDArray[np.integer]
    corpus_C: IntArray

    @property
    def tokens(self) -> int:
        """Number of token positions of the stream."""
        return int(self.tokens_CT.size)


def held_out(directories: Sequence[Path], tokens: int, context: int) -> HeldOut:
    """The first tokens of each corpus's validation split, corpora in order, in equal parts.

    A corpus with fewer tokens than its part contributes all it has. The stream depends only on the
    files, `tokens` and `context`, so two models encode the same positions.
    """
    part = max(1, tokens // len(directories) // context)
    pieces = [
        load_contexts(directory / "validation.npy", context)[:part] for directory in directories
    ]
    corpus = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    return HeldOut(np.concatenate(pieces), corpus)


def held_out_labels(
    directories: Sequence[Path], tokens: int, context: int
) -> npt.NDArray[np.uint32]:
    """Label bits of the tokens of `held_out`, uint32 [C, T]; each corpus numbers its own bits."""
    part = max(1, tokens // len(directories) // context)
    pieces = [
        load_contexts(directory / "validation-labels.npy", context)[:part]
        for directory in directories
    ]
    return np.concatenate(pieces).astype(np.uint32, copy=False)


class TrainingStream:
    """Contexts of several corpora's training splits in a seeded order, epoch after epoch.

    Each corpus contributes in proportion to its size. The position is one integer, so a resumed run
    continues with exactly the batch that would have come next.
    """

    def __init__(self, directories: Sequence[Path], context: int, seed: int) -> None:
        self._corpora = [
            load_contexts(directory / "train.npy", context) for directory in directories
        ]
        self._starts = np.cumsum([0, *(len(corpus) for corpus in self._corpora)])
        self._seed = seed
        self._epoch = -1
        self._order: IntArray = np.empty(0, np.int64)
        self.context = context
        self.contexts = int(self._starts[-1])

    def _order_of(self, epoch: int) -> IntArray:
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._order = rng.permutation(self.contexts)
            self._epoch = epoch
        return self._order

    def batch(self, position: int, size: int) -> IntArray:
        """Contexts number position .. position + size - 1 of the endless stream: int64 [B, T].

        Raises ValueError when the corpora hold no whole context.
        """
        if self.contexts == 0:
            raise ValueError(f"the corpora hold no whole context of {self.context} tokens")
        tokens_BT = np.empty((size, self.context), np.int64)
        for row in range(size):
            epoch, place = divmod(position + row, self.contexts)
            number = int(self._order_of(epoch)[place])
            corpus = int(np.searchsorted(self._starts, number, side="right")) - 1
            tokens_BT[row] = self._corpora[corpus][number - self._starts[corpus]]
        return tokens_BT

    def batches(self, start: int, size: int, count: int) -> Iterator[IntArray]:
        """`count` batches of `size` contexts (int64 [B, T]), from context number `start` on."""
        for number in range(count):
            yield self.batch(start + number * size, size)
