"""What track found along several edges: merges, what comes back, and when features appear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.analyzer.report.family import checkpoint_of, kind_of
from services.analyzer.report.inputs.inputs import Material
from services.analyzer.report.results.edges import ratio
from shared.lineage.roles import Role

Values = dict[str, Any]


def _tracked(material: Material) -> Iterator[tuple[str, Sequence[str], Mapping[str, Any]]]:
    for tracking, models in material.trackings.items():
        found = material.results.get(Role.track(tracking))
        if found:
            yield tracking, models, found


def _name(model: int | str, models: Sequence[str]) -> str:
    return models[model] if isinstance(model, int) else model


def merges(material: Material) -> list[Values]:
    """Where the live features of each merge come from; the parent at t = 0 stands first.

    `parents` holds, for each of the two, features that only that parent has; `both` those with a
    match in both, `new` those with a match in neither. The four numbers add up to `alive`.
    """
    return [
        _merge(tracking, models, row, material)
        for tracking, models, found in _tracked(material)
        for row in found.get("merges") or ()
    ]


def _merge(
    tracking: str, models: Sequence[str], row: Mapping[str, Any], material: Material
) -> Values:
    child = _name(row["child"], models)
    fields = kind_of(material.spec["models"][child])[1]
    only = {
        _name(parent, models): number
        for parent, number in zip(row["parents"], row["only"], strict=True)
    }
    order = sorted(only, key=lambda name: name != fields.get("at_zero"))
    alive = row["alive"]
    return {
        "tracking": tracking,
        "child": child,
        "alive": alive,
        "both": row["both"],
        "both_share": ratio(row["both"], alive),
        "parents": [
            {"model": name, "only": only[name], "only_share": ratio(only[name], alive)}
            for name in order
        ],
        "new": row["new"],
        "new_share": ratio(row["new"], alive),
    }


def regained(material: Material) -> list[Values]:
    """For each ancestor and descendant that is not its child: what a path of matches keeps.

    `regained` features have no path of matches between the two models but a direct match all the
    same: lost on the way and found again. `lost` have neither.
    """
    names = ("persist_direct", "persist_path", "regained", "lost")
    return [
        {
            "tracking": tracking,
            "ancestor": _name(row["ancestor"], models),
            "descendant": _name(row["descendant"], models),
            **{name: row.get(name) for name in names},
        }
        for tracking, models, found in _tracked(material)
        for row in found.get("regained") or ()
    ]


def along(material: Material) -> list[Values]:
    """Runs of training with checkpoints: how many features are new at each, how many last.

    One entry for each run of each tracking with `points` in the order of steps, the finished model
    last: step, alive, new (features without a match in the model before), unbroken (features with a
    chain of matches from the root of the family), and both as shares of the live ones.
    """
    found = []
    for tracking, models, results in _tracked(material):
        rows = {_name(row["model"], models): row for row in results.get("along") or ()}
        runs: dict[str, list[tuple[int | None, str]]] = {}
        for name in rows:
            checkpoint = checkpoint_of(name, material.spec["models"])
            if checkpoint:
                runs.setdefault(checkpoint[0], []).append((checkpoint[1], name))
        for run, places in runs.items():
            last = (material.results.get(Role.model(run), {}).get("steps"), run)
            steps = [*sorted(places), *([last] if run in rows else [])]
            points = [_point(step, name, rows[name]) for step, name in steps]
            found.append({"tracking": tracking, "run": run, "points": points})
    return found


def _point(step: int | None, name: str, row: Mapping[str, Any]) -> Values:
    return {
        "model": name,
        "step": step,
        "alive": row["alive"],
        "new": row["new"],
        "new_share": ratio(row["new"], row["alive"]),
        "unbroken": row["from_first"],
        "unbroken_share": ratio(row["from_first"], row["alive"]),
    }
