"""An edge and everything that is said about it, by REST and by results.json alike.

A number that follows from others is added here alone: a field of `Edge` and its value in `edge_of`.
One that the match stage computes is named in FROM_MATCH.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.lineage.best_r import best_r_of_null
from shared.lineage.controls import (
    Controls,
    ceiling_role,
    controlled,
    controls_of,
    crossed_shares,
    curve_of,
)
from shared.lineage.counts import CHILD_FATES, PARENT_FATES
from shared.lineage.pair import Pair, Results, Source
from shared.lineage.roles import Role
from shared.lineage.shares import RULES, ratio, suffix

Interval = tuple[float, float] | None
FROM_MATCH = (
    "documents",
    "alive_parent",
    "alive_child",
    *dict.fromkeys((*PARENT_FATES, *CHILD_FATES)),
    "persist_any",
    "persist_mutual",
    "significant",
    *RULES,
    "cosine",
)


class Scaling(BaseModel):
    """Features that disappear or emerge, and how many of them latent scaling finds all the same."""

    disappear: int | None
    false_disappear: int | None
    emerge: int | None
    false_emerge: int | None
    same_basis: bool | None


class Cosine(BaseModel):
    """Cosines between decoder directions: mean of matched pairs, share of mutually closest ones."""

    mean: float | None
    mutual: float | None


class Edge(BaseModel):
    """How the features of a parent fare in a child; None where something is not known (yet).

    Names without a suffix refer to one-to-one matches; `*_any` counts a feature when any live
    feature of the other model reaches the threshold, `*_mutual` when each is the other's best.
    """

    model_config = ConfigDict(frozen=True)

    tracking: str = Field(description="Name of the tracking that compares the two models.")
    dictionary: str = Field(description="Name of the group of dictionaries that it compares.")
    parent: str = Field(
        description="The model that the features are of; the ancestor of an ancestor pair."
    )
    child: str = Field(description="The model in which they are looked for.")
    threshold: float = Field(description="Correlation from which two features match.")
    min_firings: int = Field(description="Firings from which a feature is alive.")
    documents: int | None = Field(
        description="Documents of the stream, of which the bootstrap draws."
    )
    alive_parent: int | None = Field(description="Features of the parent that fire often enough.")
    alive_child: int | None = Field(description="Features of the child that fire often enough.")
    persist: int | None = Field(description="Features of the parent with a one-to-one match.")
    disappear: int | None = Field(
        description="Features of the parent that are not found in the child."
    )
    split: int | None = Field(
        description="Features of the parent that are sums of unmatched ones of the child."
    )
    merge: int | None = Field(
        description="Features of the parent that are parts of such a sum in the child."
    )
    emerge: int | None = Field(
        description="Features of the child that are not found in the parent."
    )
    split_child: int | None = Field(
        description="Features of the child that are parts of such a sum in the parent."
    )
    merge_child: int | None = Field(
        description="Features of the child that are sums of unmatched ones of the parent."
    )
    persist_any: int | None = Field(
        description="Features of the parent whose best r reaches the threshold."
    )
    persist_mutual: int | None = Field(description="The same, where each is the other's best.")
    significant: int | None = Field(
        description="Live features of the parent whose best r is above chance (q <= 0.05)."
    )
    significant_share: float | None = Field(description="significant / alive_parent.")
    share: float | None = Field(description="persist / alive_parent.")
    share_any: float | None = Field(description="persist_any / alive_parent.")
    share_mutual: float | None = Field(description="persist_mutual / alive_parent.")
    inherited: float | None = Field(
        description="persist / alive_child: what the child has from the parent."
    )
    controls: str | None = Field(
        description="seeds: ceilings compare two seeds; warm: two warm starts; null: none planned."
    )
    interval: Interval = Field(description="95 % of share over documents.")
    ceiling: float | None = Field(description="share between two dictionaries of the parent.")
    ceiling_interval: Interval = Field(description="95 % of ceiling over documents.")
    null: float | None = Field(
        description="share after the child's documents were shifted: chance."
    )
    unrelated: float | None = Field(
        description="share with a dictionary started from it on an untrained model."
    )
    baseline: float | None = Field(description="The larger of null and unrelated.")
    adjusted: float | None = Field(description="(share - baseline) / (ceiling - baseline).")
    adjusted_interval: Interval = Field(description="95 % of adjusted, both shares drawn together.")
    interval_any: Interval = Field(description="95 % of share_any over documents.")
    ceiling_any: float | None = Field(
        description="share_any between two dictionaries of the parent."
    )
    ceiling_any_interval: Interval = Field(description="95 % of ceiling_any over documents.")
    null_any: float | None = Field(
        description="share_any after the child's documents were shifted: chance."
    )
    unrelated_any: float | None = Field(
        description="share_any with a dictionary started from it on an untrained model."
    )
    baseline_any: float | None = Field(description="The larger of null_any and unrelated_any.")
    adjusted_any: float | None = Field(
        description="(share_any - baseline_any) / (ceiling_any - baseline_any)."
    )
    adjusted_any_interval: Interval = Field(
        description="95 % of adjusted_any, both shares drawn together."
    )
    interval_mutual: Interval = Field(description="95 % of share_mutual over documents.")
    ceiling_mutual: float | None = Field(
        description="share_mutual between two dictionaries of the parent."
    )
    ceiling_mutual_interval: Interval = Field(description="95 % of ceiling_mutual over documents.")
    null_mutual: float | None = Field(
        description="share_mutual after the child's documents were shifted: chance."
    )
    unrelated_mutual: float | None = Field(
        description="share_mutual with a dictionary started from it on an untrained model."
    )
    baseline_mutual: float | None = Field(
        description="The larger of null_mutual and unrelated_mutual."
    )
    adjusted_mutual: float | None = Field(
        description="(share_mutual - baseline_mutual) / (ceiling_mutual - baseline_mutual)."
    )
    adjusted_mutual_interval: Interval = Field(
        description="95 % of adjusted_mutual, both shares drawn together."
    )
    ceiling_child: float | None = Field(description="share between two dictionaries of the child.")
    ceiling_child_any: float | None = Field(
        description="share_any between two dictionaries of the child."
    )
    ceiling_child_mutual: float | None = Field(
        description="share_mutual between two dictionaries of the child."
    )
    crossed: float | None = Field(
        description="share of the parent's first seed with the child's second."
    )
    crossed_any: float | None = Field(
        description="share_any of the parent's first seed with the child's second."
    )
    crossed_mutual: float | None = Field(
        description="share_mutual of the parent's first seed with the child's second."
    )
    crossed_interval: Interval = Field(description="95 % of crossed over documents.")
    adjusted_crossed: float | None = Field(
        description="(crossed - baseline) / (ceiling - baseline)."
    )
    share_of_ceiling: float | None = Field(description="share / ceiling.")
    share_of_ceiling_any: float | None = Field(description="share_any / ceiling_any.")
    cosine: Cosine | None = Field(
        description="Of decoder directions, where both models read the same basis."
    )
    scaling: Scaling | None = Field(description="Features whose fate latent scaling contradicts.")
    curve: list[dict[str, float | None]] = Field(
        description="All shares at thresholds from 0.5 to 0.95."
    )
    best_r: dict[str, Any] = Field(
        description="Histograms of the live parents' highest r: edge, ceiling, null."
    )


def edge_of(pair: Pair, source: Source) -> Edge:
    """What is known of an edge, from the results of its match and of the stages beside it."""
    match, controls = source.results(pair.role), controls_of(pair, source)
    return Edge(
        tracking=pair.tracking,
        dictionary=pair.dictionary,
        parent=pair.parent,
        child=pair.child,
        threshold=pair.threshold,
        min_firings=pair.min_firings,
        **{name: match.get(name) for name in FROM_MATCH},
        significant_share=ratio(match.get("significant"), match.get("alive_parent")),
        inherited=ratio(match.get("persist"), match.get("alive_child")),
        **controlled(pair, match, controls, source),
        **_child_ceiling(pair, source),
        **crossed_shares(pair, match, controls, source),
        share_of_ceiling=ratio(match.get("share"), controls.ceiling.get("share")),
        share_of_ceiling_any=ratio(match.get("share_any"), controls.ceiling.get("share_any")),
        scaling=_scaling(pair, source),
        curve=curve_of(match, controls),
        best_r=_best_r(pair, match, controls, source),
    )


def roles_beside(pair: Pair) -> list[Role]:
    """The roles of the stages, other than its match, from which an edge is computed."""
    ends = pair.tracking, pair.parent, pair.child
    unrelated = [Role.unrelated(pair.tracking, pair.parent)] if pair.warm else []
    return [
        ceiling_role(pair, pair.parent),
        *unrelated,
        Role.ceiling(pair.tracking, pair.child),
        Role.crossed(*ends),
        Role.scaling(*ends),
    ]


def _child_ceiling(pair: Pair, source: Source) -> Mapping[str, Any]:
    """What two dictionaries of the child share."""
    ceiling = source.results(ceiling_role(pair, pair.child))
    return {f"ceiling_child{suffix(rule)}": ceiling.get(rule) for rule in RULES}


def _scaling(pair: Pair, source: Source) -> Scaling | None:
    results = source.results(Role.scaling(pair.tracking, pair.parent, pair.child))
    names = Scaling.model_fields
    return Scaling(**{name: results.get(name) for name in names}) if results else None


def _best_r(pair: Pair, match: Results, controls: Controls, source: Source) -> dict[str, Any]:
    """Histograms of best r: of the edge, of its ceiling, and under the null."""
    shifted = source.arrays(pair.role, "null.npz")["best_r_parent"] if match else None
    return {
        "edge": match.get("best_r_parent"),
        "ceiling": controls.ceiling.get("best_r_parent"),
        "null": None if shifted is None else best_r_of_null(shifted),
    }
