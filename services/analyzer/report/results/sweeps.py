"""The sweeps of results.json: points, reference, and where the curves cross."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from services.analyzer.report.family import section
from services.analyzer.report.inputs.inputs import ReportInputs
from shared.lineage.models import by_corpus, kind_of
from shared.lineage.roles import Role

Values = dict[str, Any]


def sweeps(inputs: ReportInputs) -> Values:
    """Every sweep of the spec, by name.

    `crossing` is the first t where the accuracies on the first two corpora of `evaluate_on` cross
    (None where they do not), `crossings` all of them, `crossings_loss` the same of the losses.
    """
    return {
        name: _sweep(inputs.results(Role.sweep(name))["points"], fields, inputs)
        for name, fields in section(inputs.spec, "sweeps").items()
        if Role.sweep(name) in inputs.roles
    }


def crossings(
    points: Sequence[Mapping[str, Any]], first: str, second: str, measure: str = "accuracy"
) -> list[float]:
    """Where the curves of two corpora cross, by linear interpolation between points of a sweep.

    Touching without changing sides is no crossing; where the curves run together for several points
    before they part, the crossing is the middle of that stretch.
    """
    places = []
    gaps = [
        (point["t"], point["corpora"][first][measure] - point["corpora"][second][measure])
        for point in points
    ]
    apart = [place for place, (_, gap) in enumerate(gaps) if gap != 0]
    for left, right in pairwise(apart):
        (t_left, gap_left), (t_right, gap_right) = gaps[left], gaps[right]
        if gap_left * gap_right > 0:
            continue
        if right == left + 1:
            places.append(t_left + (t_right - t_left) * gap_left / (gap_left - gap_right))
        else:
            places.append((gaps[left + 1][0] + gaps[right - 1][0]) / 2)
    return places


def _by_corpus(measured: Sequence[Mapping[str, Any]], corpora: Sequence[str]) -> Values:
    """Loss and accuracy alone: a curve is drawn of them, whatever the number of tokens."""
    named = by_corpus(measured, corpora)
    return {name: one.model_dump(exclude={"tokens"}) for name, one in named.items()}


def _sweep(
    points: Sequence[Mapping[str, Any]], fields: Mapping[str, Any], inputs: ReportInputs
) -> Values:
    on = list(fields.get("evaluate_on") or inputs.corpora)
    named = [{"t": point["t"], "corpora": _by_corpus(point["corpora"], on)} for point in points]
    crossing = crossings(named, on[0], on[1]) if len(on) > 1 else []
    reference = fields.get("reference")
    evaluated = inputs.results(Role.evaluate(reference)) if reference else None
    return {
        "method": fields.get("method"),
        "at_zero": fields["at_zero"],
        "at_one": fields["at_one"],
        "evaluate_on": on,
        "points": named,
        "reference": {
            "model": reference,
            "corpora": _by_corpus(evaluated["corpora"], inputs.corpora),
        }
        if evaluated
        else None,
        "crossing": crossing[0] if crossing else None,
        "crossings": crossing,
        "crossings_loss": crossings(named, on[0], on[1], "loss") if len(on) > 1 else [],
        "merges": _merges_between(fields["at_zero"], fields["at_one"], inputs.spec),
    }


def _merges_between(at_zero: str, at_one: str, spec: Mapping[str, Any]) -> list[Values]:
    """Models that are a merge of the two, with their place on this sweep's axis.

    A merge that names the parents the other way round stands at 1 - t.
    """
    merges = []
    for name, model in spec["models"].items():
        kind, fields = kind_of(model)
        if kind != "merge" or {fields["at_zero"], fields["at_one"]} != {at_zero, at_one}:
            continue
        swapped = fields["at_zero"] != at_zero
        place = 1 - fields["t"] if swapped else fields["t"]
        merges.append({"model": name, "t": fields["t"], "place": place, "swapped": swapped})
    return sorted(merges, key=lambda merge: (merge["place"], merge["model"]))
