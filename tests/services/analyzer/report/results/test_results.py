"""results.json: names, sums, controls, and numbers that are finite or null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from services.analyzer.report.inputs.inputs import read_inputs
from services.analyzer.report.results.results import assemble
from services.analyzer.report.results.sweeps import crossings
from shared.stages.report import ReportParameters
from shared.stages.stage import Input
from tests.support.report.inputs import ALONE, PAPER, Family, Role, build

# The published sweep (paper.md): t, accuracy on TinyStories, accuracy on Lua.
PUBLISHED = (
    (0.00, 0.5196, 0.1761),
    (0.25, 0.4828, 0.2531),
    (0.40, 0.4422, 0.3103),
    (0.50, 0.4108, 0.3549),
    (0.55, 0.3927, 0.3770),
    (0.60, 0.3753, 0.3984),
    (0.75, 0.3268, 0.4522),
    (1.00, 0.2467, 0.4941),
)


def points(*rows: tuple[float, float, float]) -> list[dict[str, Any]]:
    """Points of a sweep with accuracies on the corpora `a` and `b`."""
    return [
        {"t": t, "corpora": {"a": {"accuracy": first}, "b": {"accuracy": second}}}
        for t, first, second in rows
    ]


def results_of(parameters: dict[str, Any], inputs: Mapping[str, Role]) -> dict[str, Any]:
    """results.json for some parameters and inputs."""
    laid = {name: Input(f"key of {name}", path, values) for name, (path, values) in inputs.items()}
    return assemble(read_inputs(ReportParameters.model_validate(parameters), laid))


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results_of(*build(tmp_path_factory.mktemp("paper")))


def test_the_published_curves_cross_near_0_57() -> None:
    assert crossings(points(*PUBLISHED), "a", "b") == pytest.approx([0.5702], abs=1e-4)


def test_curves_that_never_meet_have_no_crossing() -> None:
    assert crossings(points((0, 0.5, 0.2), (0.5, 0.4, 0.3), (1, 0.5, 0.4)), "a", "b") == []
    assert crossings(points((0, 0.3, 0.3), (1, 0.3, 0.3)), "a", "b") == []


def test_touching_without_changing_sides_is_no_crossing() -> None:
    assert crossings(points((0, 0.5, 0.2), (0.5, 0.3, 0.3), (1, 0.5, 0.2)), "a", "b") == []


def test_curves_that_meet_at_points_cross_in_the_middle_of_the_stretch() -> None:
    assert crossings(points((0, 0.5, 0.2), (0.5, 0.3, 0.3), (1, 0.2, 0.5)), "a", "b") == [0.5]
    stretch = points((0, 0.5, 0.2), (0.25, 0.3, 0.3), (0.5, 0.3, 0.3), (1, 0.2, 0.5))
    assert crossings(stretch, "a", "b") == [0.375]


def test_every_crossing_is_found() -> None:
    rows = points((0, 0.5, 0.3), (0.5, 0.3, 0.5), (1, 0.5, 0.3))
    assert crossings(rows, "a", "b") == pytest.approx([0.25, 0.75])


def test_the_fixed_names_are_there(paper: dict[str, Any]) -> None:
    for model in paper["models"].values():
        assert model["parameters"] == 35_131_904
        for values in model["corpora"].values():
            assert {"loss", "accuracy"} <= set(values)
    assert set(paper["models"]) == set(PAPER)
    assert set(paper["untrained"]) == {"base"}
    sweep = paper["sweeps"]["stories-to-lua"]
    assert {"at_zero", "at_one", "points", "reference", "crossing"} <= set(sweep)
    assert {"t", "corpora"} == set(sweep["points"][0])
    for entries in paper["dictionaries"].values():
        assert [entry["seed"] for entry in entries] == [0, 1]
        for entry in entries:
            names = {"features", "l0", "explained_variance", "loss_recovered", "dead_share"}
            assert names <= set(entry)
    names = {"parent", "child", "threshold", "ceiling", "alive_parent", "alive_child", "persist"}
    names |= {"disappear", "emerge", "persist_any", "tracking", "null", "share", "share_any"}
    assert len(paper["edges"]) == 4
    assert all(names <= set(edge) for edge in paper["edges"])
    assert all(set(chain["models"]) == set(PAPER) for chain in paper["universal"])


def test_the_counts_of_every_edge_add_up(paper: dict[str, Any]) -> None:
    for edge in paper["edges"]:
        leaving = ("persist", "disappear", "split", "merge")
        arriving = ("persist", "emerge", "split_child", "merge_child")
        assert edge["split"] > 0
        assert edge["merge_child"] > 0
        assert sum(edge[name] for name in leaving) == edge["alive_parent"]
        assert sum(edge[name] for name in arriving) == edge["alive_child"]
        assert edge["share"] == edge["persist"] / edge["alive_parent"]
        assert edge["share_of_ceiling"] == edge["share"] / edge["ceiling"]


def test_counts_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path)
    inputs["match/main/base/lua"][1]["disappear"] += 1
    with pytest.raises(ValueError, match="base -> lua: persist \\+ disappear"):
        results_of(parameters, inputs)
    inputs["match/main/base/lua"][1]["disappear"] -= 1
    inputs["match/main/base/lua"][1]["emerge"] += 1
    with pytest.raises(ValueError, match="base -> lua: persist \\+ emerge"):
        results_of(parameters, inputs)


def test_the_ceiling_of_an_edge_is_that_of_its_parent(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path)
    inputs["ceiling/main/base"][1].update(share=0.5, share_any=0.6)
    inputs["ceiling/main/lua"][1].update(share=0.4, share_any=0.45)
    edge = results_of(parameters, inputs)["edges"][0]
    assert (edge["parent"], edge["child"]) == ("base", "lua")
    assert (edge["ceiling"], edge["ceiling_any"]) == (0.5, 0.6)
    assert (edge["ceiling_child"], edge["ceiling_child_any"]) == (0.4, 0.45)


def test_one_seed_and_no_null_leave_the_controls_undefined(tmp_path: Path) -> None:
    for edge in results_of(*build(tmp_path, Family(seeds=(3,), null=False)))["edges"]:
        assert edge["ceiling"] is None
        assert edge["null"] is None
        assert edge["share_of_ceiling"] is None
        assert edge["share"] > 0


def test_a_merge_that_names_its_parents_the_other_way_round_stands_at_one_minus_t(
    paper: dict[str, Any],
) -> None:
    merge = paper["sweeps"]["stories-to-lua"]["merges"][0]
    assert merge["model"] == "luastories"
    assert merge["swapped"]
    assert (merge["t"], merge["place"]) == (0.58, pytest.approx(0.42))


def test_the_reference_of_a_sweep_carries_its_evaluation(paper: dict[str, Any]) -> None:
    reference = paper["sweeps"]["stories-to-lua"]["reference"]
    base = paper["models"]["base"]["corpora"]
    assert reference["model"] == "base"
    assert reference["corpora"]["lua"]["accuracy"] == base["lua"]["accuracy"]


def test_evaluations_follow_the_order_of_the_parameters_not_of_the_spec(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path)
    losses = [one["loss"] for one in inputs["evaluate/base"][1]["corpora"]]
    corpora = dict(reversed(parameters["spec"]["corpora"].items()))
    parameters["spec"] = {**parameters["spec"], "corpora": corpora}
    named = results_of(parameters, inputs)["models"]["base"]["corpora"]
    assert [named[name]["loss"] for name in ("babypython", "lua", "stories")] == losses


def test_the_order_of_keys_in_the_spec_changes_nothing(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path)
    shuffled = json.loads(json.dumps(parameters, sort_keys=True))
    one, other = (json.dumps(results_of(each, inputs)) for each in (parameters, shuffled))
    assert one == other


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path)
    inputs["quality/mlp/base/0"][1]["loss_recovered"] = math.nan
    results = results_of(parameters, inputs)
    assert results["dictionaries"]["base"][0]["loss_recovered"] is None
    json.dumps(results, allow_nan=False)


def test_a_spec_with_only_models_has_only_models(tmp_path: Path) -> None:
    family = Family(models=ALONE, trackings=(), sweep=False, dictionaries=False)
    results = results_of(*build(tmp_path, family))
    assert list(results["models"]) == ["base"]
    assert results["edges"] == results["universal"] == results["labels"] == []
    assert results["sweeps"] == results["dictionaries"] == results["examples"] == {}


def test_every_tracking_has_its_own_edges(tmp_path: Path) -> None:
    results = results_of(*build(tmp_path, Family(trackings=("main", "second"))))
    assert [edge["tracking"] for edge in results["edges"]] == ["main"] * 4 + ["second"] * 4
    assert set(results["examples"]) == {"main", "second"}


def test_labels_and_examples_use_the_names_of_the_user(paper: dict[str, Any]) -> None:
    label = paper["labels"][0]
    assert (label["label"], label["model"]) == ("assignment", "base")
    assert label["persists_in"] == ["lua", "stories", "luastories"]
    assert label["contexts"][0]["corpus"] == "babypython"
    failing = paper["examples"]["main"]["failing"]
    assert (failing["parent"], failing["child"]) == ("base", "lua")
    first = paper["universal"][0]["models"]
    assert first["base"]["correlation"] == 1.0
    assert paper["examples"]["main"]["universal"]["features"] == [
        first[name]["feature"] for name in PAPER
    ]


def test_an_imported_model_is_told_by_its_alias(tmp_path: Path) -> None:
    models = {"theirs": {"import": {"hub": "some/model"}}}
    family = Family(models=models, trackings=(), sweep=False, dictionaries=False)
    results = results_of(*build(tmp_path, family))
    assert results["models"]["theirs"]["kind"] == "import"
    assert results["untrained"] == {}
