"""What one dictionary of a parent and its child together found."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from shared.lineage.pair import Results

DEAD = "dead"  # the kind of a feature that never fires


class Crosscoder(BaseModel):
    """A crosscoder of an edge.

    kinds are numbers of features: shared, parent and child (in that one only), false_parent and
    false_child (so by their norms, but not by latent scaling), dead. relative_norm is a histogram
    of child / (parent + child) over decoder norms.
    """

    model_config = ConfigDict(frozen=True)

    parent: str
    child: str
    features: int | None
    width: int | None
    l0: float | None
    explained_variance_parent: float | None
    explained_variance_child: float | None
    dead_share: float | None
    relative_norm: dict[str, Any] | None
    vectors: int | None
    tokens: int | None
    kinds: dict[str, int]

    @property
    def live(self) -> int:
        """Features of any kind but dead."""
        return sum(number for kind, number in self.kinds.items() if kind != DEAD)

    @property
    def kinds_shares(self) -> dict[str, float]:
        """Each kind but dead as a share of the live features; empty where none is alive."""
        live = self.live
        return {kind: number / live for kind, number in self.kinds.items() if live and kind != DEAD}


def crosscoder_of(parent: str, child: str, results: Results) -> Crosscoder:
    """What the results of a crosscoder stage say."""
    names = Crosscoder.model_fields.keys() - {"parent", "child"}
    return Crosscoder(parent=parent, child=child, **{name: results[name] for name in names})
