"""What a merge method is: a function from the parents' tensors to the merged one.

    combine(parents, sink, *, t, ..) -> notes

`parents` are tensors of one shape and dtype, one of each model, in the order of the merge's inputs.
`sink` takes the merged values piece by piece: the place of the first one in the flat tensor, and
the values. It may be called by several threads, in any order, and a piece may lie in memory that
the next one overwrites; so a merge never holds a whole tensor more than the parents'. The keyword
arguments are the settings that the method declares (shared/spec/merges), with `t` where it has a
direction. The notes stand in the tensor's row of tensors.jsonl. A number in them that is not finite
says that a parent's values are not; `linear` says that a line was taken instead of the method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Sink = Callable[[int, Tensor], None]
Notes = Mapping[str, Any]
Combine = Callable[..., Notes]


def in_memory(combine: Combine, parents: Sequence[Tensor], **settings: Any) -> tuple[Tensor, Notes]:
    """The merged tensor as a whole, with the shape and dtype of the first parent, and its notes."""
    merged = torch.empty_like(parents[0], memory_format=torch.contiguous_format)
    merged_n = merged.view(-1)

    def keep(start: int, piece: Tensor) -> None:
        merged_n[start : start + piece.numel()] = piece.reshape(-1)

    notes = combine(parents, keep, **settings)
    return merged, notes
