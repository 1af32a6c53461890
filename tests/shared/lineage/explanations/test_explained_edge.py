"""What is said of an edge whose parent is explained."""

from __future__ import annotations

from typing import Any

import pytest

from shared.lineage.explanations.explained_edge import CROSS, SIDES, reading, sides


def side(low: float, high: float) -> dict[str, Any]:
    return {"features": 3, "difference_interval": [low, high]}


@pytest.mark.parametrize(
    ("persist", "disappear", "said"),
    [
        (side(0.0, 0.1), side(0.2, 0.3), "apart"),
        (side(0.2, 0.3), side(0.0, 0.1), "reversed"),
        (side(0.0, 0.2), side(0.1, 0.3), "open"),
        (None, side(0.1, 0.3), None),
        ({"features": 1, "difference_interval": None}, side(0.1, 0.3), None),
    ],
)
def test_losses_on_both_sides_are_compared_by_their_intervals(
    persist: dict[str, Any] | None, disappear: dict[str, Any], said: str | None
) -> None:
    assert reading(sides({"persist": persist, "disappear": disappear})) == said


def test_a_side_has_every_field_and_nothing_else() -> None:
    found = sides({"persist": {"features": 2, "more": 1}, "method": "rule"})
    assert tuple(found) == SIDES
    assert found["disappear"] is None
    assert found["persist"] is not None
    assert tuple(found["persist"]) == CROSS
