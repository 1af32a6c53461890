"""What track found along several edges: merges, what comes back, and when features appear."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.analyzer.report.family import checkpoint_of
from services.analyzer.report.inputs.inputs import ReportInputs
from shared.lineage.models import kind_of
from shared.lineage.roles import Role
from shared.lineage.shares import ratio

Values = dict[str, Any]


def _tracked(inputs: ReportInputs) -> Iterator[tuple[str, Sequence[str], Mapping[str, Any]]]:
    """The trackings, each with its models and the results of its track stage."""
    for tracking, models in inputs.trackings.items():
        yield tracking, models, inputs.results(Role.track(tracking))


def _name(model: int | str, models: Sequence[str]) -> str:
    return models[model] if isinstance(model, int) else model


def merges(inputs: ReportInputs) -> list[Values]:
    """Where the live features of each merge come from; the parent at t = 0 stands first.

    `parents` holds, for each of the two, features that only that parent has; `both` those with a
    match in both, `new` those with a match in neither. The four numbers add up to `alive`.
    """
    return [
        _merge(tracking, models, row, inputs)
        for tracking, models, results in _tracked(inputs)
        for row in results["merges"]
    ]


def _merge(
    tracking: str, models: Sequence[str], row: Mapping[str, Any], inputs: ReportInputs
) -> Values:
    child = _name(row["child"], models)
    fields = kind_of(inputs.spec["models"][child])[1]
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


def regained(inputs: ReportInputs) -> list[Values]:
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
            **{name: row[name] for name in names},
        }
        for tracking, models, results in _tracked(inputs)
        for row in results["regained"]
    ]


def along(inputs: ReportInputs) -> list[Values]:
    """Runs of training with checkpoints: how many features are new at each, how many last.

    One entry for each run of each tracking with `points` in the order of steps, the finished model
    last: step, alive, new (features without a match in the model before), unbroken (features with a
    chain of matches from the root of the family), and both as shares of the live ones.
    """
    trained = []
    for tracking, models, results in _tracked(inputs):
        rows = {_name(row["model"], models): row for row in results["along"]}
        runs: dict[str, list[tuple[int | None, str]]] = {}
        for name in rows:
            checkpoint = checkpoint_of(name, inputs.spec["models"])
            if checkpoint:
                runs.setdefault(checkpoint[0], []).append((checkpoint[1], name))
        for run, places in runs.items():
            last = (inputs.results(Role.model(run)).get("steps"), run)
            steps = [*sorted(places), *([last] if run in rows else [])]
            points = [_point(step, name, rows[name]) for step, name in steps]
            trained.append({"tracking": tracking, "run": run, "points": points})
    return trained


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
