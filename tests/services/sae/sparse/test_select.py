"""Selecting active entries: exact, whatever short cut finds them.

N: vectors, F: features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from services.sae.sparse.entries import Entries, SparseEntries
from services.sae.sparse.select import DENSE, largest_of_all, largest_of_each, positive

SHAPES = [(30, 20), (50, 256), (7, 1024), (3, 63)]  # with and without whole runs of columns


def matrix(n: int, features: int, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(n * features)
    return torch.randn(n, features, generator=generator) + shift


def whole(entries: Entries, shape: torch.Size) -> Tensor:
    """The entries as a matrix."""
    if not isinstance(entries, SparseEntries):
        return entries.value
    active = entries.active
    f_NF = torch.zeros(shape)
    rows = torch.repeat_interleave(torch.arange(shape[0]), active.first_N1.diff())
    f_NF[rows, active.feature_K] = active.value_K
    assert int((f_NF != 0).sum()) == len(active.value_K)
    return f_NF


def expected_each(pre_NF: Tensor, k: int) -> Tensor:
    f_NF = pre_NF.clamp_min(0)
    return f_NF * (f_NF >= f_NF.sort(1, descending=True).values[:, k - 1 : k])


def expected_all(pre_NF: Tensor, count: int) -> Tensor:
    f_NF = pre_NF.clamp_min(0)
    return f_NF * (f_NF >= f_NF.flatten().sort(descending=True).values[count - 1])


@pytest.mark.parametrize("way", [DENSE, 1.0])
@pytest.mark.parametrize("shift", [0.0, -1.5, -3.0, -10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_positive_entries_are_found(shape: tuple[int, int], shift: float, way: float) -> None:
    pre_NF = matrix(*shape, shift)
    assert torch.equal(whole(positive(pre_NF, way), pre_NF.shape), pre_NF.clamp_min(0))


@pytest.mark.parametrize("way", [DENSE, 1.0])
@pytest.mark.parametrize("k", [1, 3, 10])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_k_largest_of_each_row_are_found(shape: tuple[int, int], k: int, way: float) -> None:
    for shift in (0.0, -2.5):
        pre_NF = matrix(*shape, shift)
        found = whole(largest_of_each(pre_NF, k, way), pre_NF.shape)
        assert torch.equal(found, expected_each(pre_NF, k))


@pytest.mark.parametrize("way", [DENSE, 1.0])
@pytest.mark.parametrize("count", [1, 40, 60])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_largest_of_all_are_found(shape: tuple[int, int], count: int, way: float) -> None:
    for shift in (0.0, -2.5):
        pre_NF = matrix(*shape, shift)
        found = whole(largest_of_all(pre_NF, count, way), pre_NF.shape)
        assert torch.equal(found, expected_all(pre_NF, count))


def test_large_entries_that_lie_side_by_side_are_all_found() -> None:
    """The short cut looks at runs of columns; here one run holds everything."""
    pre_NF = matrix(20, 512)
    pre_NF[:, 128:160] += 10
    found_NF = whole(largest_of_each(pre_NF, 16, 1.0), pre_NF.shape)
    assert torch.equal(found_NF, expected_each(pre_NF, 16))
    found_NF = whole(largest_of_all(pre_NF, 320, 1.0), pre_NF.shape)
    assert torch.equal(found_NF, expected_all(pre_NF, 320))


@pytest.mark.parametrize(
    "select",
    [
        lambda pre_NF: largest_of_each(pre_NF, 4, 1.0),
        lambda pre_NF: largest_of_all(pre_NF, 4 * len(pre_NF), 1.0),
    ],
)
def test_of_equal_entries_as_many_as_asked_for_are_taken(
    select: Callable[[Tensor], Entries],
) -> None:
    entries = select(torch.ones(10, 256))
    assert isinstance(entries, SparseEntries)
    assert len(entries.value) == 40


def test_entries_come_in_the_order_of_tokens_and_features() -> None:
    entries = largest_of_all(matrix(50, 256), 400, 1.0)
    assert isinstance(entries, SparseEntries)
    active = entries.active
    rows = np.repeat(np.arange(50), np.diff(active.first_N1.numpy()))
    flat = rows * 256 + active.feature_K.numpy()
    assert (np.diff(flat) > 0).all()
