"""A rule: what it says, and the activation that it expects."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from services.analyzer.explain.rules.places import values_at
from shared.arrays import BoolArray, FloatArray, IntArray
from shared.data.token_stream import HeldOut


@dataclass(frozen=True)
class Gate:
    """A second condition: an attribute has one of some values (the strongest first).

    Levels of the rule's table are multiplied by `inside` where it holds and by `outside` where it
    does not; tokens that are not in the table are expected to have `other_inside` and
    `other_outside`.
    """

    attribute: str
    values: tuple[int, ...]
    inside: float
    outside: float
    other_inside: float
    other_outside: float

    def holds(self, stream: HeldOut, texts: Sequence[str], places: IntArray) -> BoolArray:
        """Whether the condition holds at tokens of the stream, in the shape of `places`."""
        return np.isin(values_at(self.attribute, stream, texts, places), self.values)


@dataclass(frozen=True)
class Rule:
    """A table of one attribute's values (ascending) with the activation expected at each.

    `other` is expected at every other value. `text` says it in words. `correlation` is the Pearson
    correlation between expected and true activations, cross-validated on the contexts that the
    rule was learnt from (see find.py): a reason to prefer it, not its score.
    """

    text: str
    attribute: str
    values: tuple[int, ...]
    levels: tuple[float, ...]
    other: float
    correlation: float
    gate: Gate | None = None

    def simulate(
        self, stream: HeldOut, texts: Sequence[str], places: IntArray
    ) -> npt.NDArray[np.float32]:
        """The expected activation at tokens of the stream, in the shape of `places`.

        It is the mean activation of the rule's cell on the contexts that it was learnt from,
        shrunk as find.py says. `texts` are the vocabulary's, as the rule was learnt with.
        """
        found = values_at(self.attribute, stream, texts, places)
        listed, level = _looked_up(np.array(self.values, np.int64), np.array(self.levels), found)
        if self.gate is None:
            return np.where(listed, level, self.other).astype(np.float32)
        gate = self.gate
        holds = gate.holds(stream, texts, places)
        inside = np.where(listed, level * gate.inside, gate.other_inside)
        outside = np.where(listed, level * gate.outside, gate.other_outside)
        return np.where(holds, inside, outside).astype(np.float32)

    def to_json(self) -> str:
        """The rule as JSON: one line, keys in a fixed order, nothing lost."""
        return json.dumps(asdict(self), ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Rule:
        """The rule that `to_json` wrote."""
        stored = json.loads(text)
        gate = stored.pop("gate")
        if gate is not None:
            gate = Gate(**{**gate, "values": tuple(gate["values"])})
        stored |= {name: tuple(stored[name]) for name in ("values", "levels")}
        return cls(**stored, gate=gate)


def _looked_up(
    values: IntArray, levels: FloatArray, found: IntArray
) -> tuple[BoolArray, FloatArray]:
    """Which of the found values are in the table, and their levels (0 of those that are not)."""
    if not len(values):
        return np.zeros(found.shape, bool), np.zeros(found.shape)
    place = np.minimum(np.searchsorted(values, found), len(values) - 1)
    listed = values[place] == found
    return listed, np.where(listed, levels[place], 0.0)
