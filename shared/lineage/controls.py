"""The controls of an edge: a ceiling, chance, and what a common start alone gives.

Which stages they come from depends on how the dictionaries were started:
  seeds  ceiling: two dictionaries of the parent with other seeds; baseline: the null of the edge
  warm   (init: parent) ceiling: the parent's dictionary against one started from it on the same
         model with another order of data; baseline: the larger of the null and the share that
         the parent's dictionary keeps when one started from it is trained on an untrained model,
         because a common start alone makes features agree
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.lineage.pair import Arrays, Pair, Results, Source
from shared.lineage.roles import Role
from shared.lineage.shares import RULES, adjusted, adjusted_interval, baseline, suffix

DIGITS = 6  # of a threshold, when those of two stages are compared
Values = dict[str, Any]
Point = Mapping[str, float | None]


@dataclass(frozen=True)
class Controls:
    """What an edge is held against; results are empty where a stage is not planned or finished.

    `kind` is "seeds" or "warm", None where no ceiling is planned.
    """

    kind: str | None
    ceiling_role: Role
    ceiling: Results
    unrelated: Results


def ceiling_role(pair: Pair, model: str) -> Role:
    """The role of the match that bounds what can be found again of a model."""
    return (Role.warm if pair.warm else Role.ceiling)(pair.tracking, model)


def controls_of(pair: Pair, source: Source) -> Controls:
    """The controls of the edges that leave a pair's parent."""
    role = ceiling_role(pair, pair.parent)
    kind = "warm" if pair.warm else "seeds"
    return Controls(
        kind=kind if role in source.roles else None,
        ceiling_role=role,
        ceiling=source.results(role),
        unrelated=source.results(Role.unrelated(pair.tracking, pair.parent)) if pair.warm else {},
    )


def controlled(pair: Pair, match: Results, controls: Controls, source: Source) -> Values:
    """Interval, ceiling, null, baseline and adjusted share of an edge by each rule.

    The names end in "_any" and "_mutual" for the other rules than one-to-one.
    """
    null = match.get("null") or {}
    ceiling, unrelated = controls.ceiling, controls.unrelated
    own, top = _replicates(pair, match, controls, source)
    values: Values = {"controls": controls.kind}
    for rule in RULES:
        end = suffix(rule)
        bottom = baseline(null.get(rule), unrelated.get(rule))
        between = adjusted(match.get(rule), bottom, ceiling.get(rule))
        known = between is not None and rule in own and rule in top
        values |= {
            f"interval{end}": match.get(f"interval{end}"),
            f"ceiling{end}": ceiling.get(rule),
            f"ceiling{end}_interval": ceiling.get(f"interval{end}"),
            f"null{end}": null.get(rule),
            f"unrelated{end}": unrelated.get(rule),
            f"baseline{end}": bottom,
            f"adjusted{end}": between,
            f"adjusted{end}_interval": adjusted_interval(own[rule], bottom, top[rule])
            if known
            else None,
        }
    return values


def _replicates(
    pair: Pair, match: Results, controls: Controls, source: Source
) -> tuple[Arrays, Arrays]:
    """The shares of a match and of its ceiling in every replicate: rule -> [B].

    Empty where one of the two has no interval, as at another threshold than the planned one.
    """
    if match.get("interval") is None or controls.ceiling.get("interval") is None:
        return {}, {}
    own, top = (source.arrays(role, "bootstrap.npz") for role in (pair.role, controls.ceiling_role))
    return own, top


def crossed_shares(pair: Pair, match: Results, controls: Controls, source: Source) -> Values:
    """The shares between other seeds, and the one-to-one share of them between the controls."""
    crossed = source.results(Role.crossed(pair.tracking, pair.parent, pair.child))
    null = crossed.get("null") or match.get("null") or {}
    bottom = baseline(null.get("share"), controls.unrelated.get("share"))
    return {
        **{f"crossed{suffix(rule)}": crossed.get(rule) for rule in RULES},
        "crossed_interval": crossed.get("interval"),
        "adjusted_crossed": adjusted(crossed.get("share"), bottom, controls.ceiling.get("share")),
    }


def curve_of(match: Results, controls: Controls) -> list[dict[str, float | None]]:
    """The shares over thresholds, with those of the controls and the adjusted one.

    A control without a point at a threshold is None there; empty while the match has no results.
    """
    ceiling, unrelated = by_threshold(controls.ceiling), by_threshold(controls.unrelated)
    return [
        {"threshold": at, **_shares_at(point, ceiling.get(at, {}), unrelated.get(at, {}))}
        for at, point in by_threshold(match).items()
    ]


def by_threshold(match: Results) -> dict[float, Point]:
    """The points of a match's curve by their threshold."""
    return {round(point["threshold"], DIGITS): point for point in match.get("curve") or ()}


def _shares_at(point: Point, ceiling: Point, unrelated: Point) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for rule in RULES:
        end = suffix(rule)
        null, started, top = point.get(f"null{end}"), unrelated.get(rule), ceiling.get(rule)
        values |= {
            rule: point.get(rule),
            f"null{end}": null,
            f"unrelated{end}": started,
            f"ceiling{end}": top,
            f"adjusted{end}": adjusted(point.get(rule), baseline(null, started), top),
        }
    return values
