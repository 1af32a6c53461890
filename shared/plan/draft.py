"""A plan in the making: the graph so far, and which stage plays which role."""

from __future__ import annotations

from collections.abc import Iterable

from shared.lineage.roles import Role
from shared.plan.graph import Graph, derived_seed
from shared.resolve.resolved import ResolvedSpec
from shared.spec import Spec


class Draft:
    """What the functions that add stages share.

    `roles` maps the roles of a report's inputs (see shared.lineage.roles) to keys;
    `codes` the encoded streams of (tracking, model, replicate); `cells` the cells of each grid, as
    a report has them.
    """

    def __init__(self, resolved: ResolvedSpec) -> None:
        self.resolved = resolved
        self.graph = Graph()
        self.roles: dict[str, str] = {}
        self.codes: dict[tuple[str, str, int], str] = {}
        self.cells: dict[str, tuple[dict[str, float], ...]] = {}
        self.tokenizer = ""

    @property
    def spec(self) -> Spec:
        """The spec, pinned."""
        return self.resolved.spec

    def tokens_of(self, corpora: Iterable[str]) -> list[str]:
        """Keys of the packed tokens of some corpora, in order."""
        return [self.roles[Role.tokens(corpus)] for corpus in corpora]

    def seed(self, purpose: str, own: int | None = None) -> int:
        """The seed for a purpose: from the experiment's, or from the `own` one of a model."""
        return derived_seed(self.spec.seed if own is None else own, purpose)
