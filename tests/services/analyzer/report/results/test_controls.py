"""results.json: controls of every edge, and what stands beside the edges."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.lineage.shares import RULES
from tests.services.analyzer.report.results.test_results import results_of
from tests.support.report.inputs import EVERYTHING, Family, build


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results_of(*build(tmp_path_factory.mktemp("all"), Family(**EVERYTHING)))


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results_of(*build(tmp_path_factory.mktemp("paper")))


def edge_between(results: Mapping[str, Any], parent: str, child: str) -> dict[str, Any]:
    """The edge of two models."""
    pairs = {(edge["parent"], edge["child"]): edge for edge in results["edges"]}
    return pairs[parent, child]


def test_the_adjusted_share_lies_between_chance_and_the_ceiling_of_its_rule(
    paper: dict[str, Any],
) -> None:
    for edge in paper["edges"]:
        for end in ("", "_any", "_mutual"):
            null, ceiling = edge[f"null{end}"], edge[f"ceiling{end}"]
            expected = (edge[f"share{end}"] - null) / (ceiling - null)
            assert edge[f"adjusted{end}"] == pytest.approx(expected, abs=1e-12)
            low, high = edge[f"adjusted{end}_interval"]
            assert low < edge[f"adjusted{end}"] < high


def test_the_interval_of_the_adjusted_share_pairs_the_replicates(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path)
    share_B = np.linspace(0.3, 0.5, 101)
    match, ceiling = inputs["match/main/base/lua"], inputs["ceiling/main/base"]
    match[1]["null"]["share"] = 0.1
    np.savez(match[0] / "bootstrap.npz", **dict.fromkeys(RULES, share_B))
    # given a ceiling that moves with the share, the adjusted share hardly moves
    np.savez(ceiling[0] / "bootstrap.npz", **dict.fromkeys(RULES, 0.1 + 2 * (share_B - 0.1)))
    edge = edge_between(results_of(parameters, inputs), "base", "lua")
    assert edge["adjusted_interval"] == pytest.approx([0.5, 0.5])
    # given other numbers of replicates, nothing can be paired
    np.savez(ceiling[0] / "bootstrap.npz", **dict.fromkeys(RULES, share_B[:50]))
    edge = edge_between(results_of(parameters, inputs), "base", "lua")
    assert edge["adjusted_interval"] is None


def test_warm_started_dictionaries_are_held_against_warm_started_controls(tmp_path: Path) -> None:
    parameters, inputs = build(tmp_path, Family(init="parent"))
    edge = edge_between(results_of(parameters, inputs), "base", "lua")
    warm, unrelated = (inputs[f"{kind}/main/base"][1] for kind in ("warm", "unrelated"))
    assert edge["controls"] == "warm"
    assert edge["ceiling"] == warm["share"]
    assert edge["unrelated"] == edge["baseline"] == unrelated["share"] > edge["null"]
    expected = (edge["share"] - edge["baseline"]) / (edge["ceiling"] - edge["baseline"])
    assert edge["adjusted"] == pytest.approx(expected)
    # when chance is higher than the unrelated model, it is the baseline
    inputs["match/main/base/lua"][1]["null"]["share"] = 0.2
    assert edge_between(results_of(parameters, inputs), "base", "lua")["baseline"] == 0.2
    # when the control of the warm start is missing, no other one takes its place
    inputs["ceiling/main/base"] = inputs.pop("warm/main/base")
    edge = edge_between(results_of(parameters, inputs), "base", "lua")
    assert edge["controls"] is edge["ceiling"] is edge["adjusted"] is None


def test_the_curve_carries_its_controls_at_every_threshold(paper: dict[str, Any]) -> None:
    for edge in paper["edges"]:
        thresholds = [point["threshold"] for point in edge["curve"]]
        assert thresholds == pytest.approx(np.arange(0.5, 0.96, 0.05))
        at = next(point for point in edge["curve"] if point["threshold"] == edge["threshold"])
        for name in ("share", "ceiling", "null", "adjusted"):
            assert at[name] == pytest.approx(edge[name])


def test_crossed_seeds_and_latent_scaling_stand_beside_the_edge(paper: dict[str, Any]) -> None:
    edge = edge_between(paper, "base", "lua")
    assert edge["crossed"] == pytest.approx(0.9 * edge["share"])
    assert edge["adjusted_crossed"] < edge["adjusted"]
    assert edge["scaling"]["false_disappear"] == 11


def test_ancestors_are_edges_to_descendants_that_are_not_children(everything: Any) -> None:
    pairs = [(one["parent"], one["child"]) for one in everything["ancestors"]]
    assert ("base", "luastories") in pairs
    assert ("base", "lua") not in pairs
    for one in everything["ancestors"]:
        assert one["ceiling"] is not None
        assert one["crossed"] is one["scaling"] is None
    regained = [(one["ancestor"], one["descendant"]) for one in everything["regained"]]
    assert regained == pairs


def test_what_a_merge_inherits_adds_up_and_names_the_parent_at_zero_first(everything: Any) -> None:
    merge = everything["merges"][0]
    assert [parent["model"] for parent in merge["parents"]] == ["lua", "stories"]
    parts = [merge["both"], merge["new"], *(parent["only"] for parent in merge["parents"])]
    assert sum(parts) == merge["alive"]


def test_checkpoints_are_models_in_the_order_of_their_steps(everything: Any) -> None:
    assert list(everything["models"])[:3] == ["base@100", "base@400", "base"]
    assert everything["models"]["base@400"]["checkpoint"] == {"of": "base", "step": 400}
    assert everything["models"]["base"]["checkpoint"] is None
    assert everything["experiment"]["models"] == 4
    run = everything["along"][0]
    assert [point["step"] for point in run["points"]] == [100, 400, 900]
    assert run["points"][0]["unbroken_share"] == 1.0


def test_cells_of_a_grid_are_means_over_seeds_and_one_is_recommended(everything: Any) -> None:
    grid = everything["stability"]["grid"]
    assert len(grid["cells"]) == 9
    first = grid["cells"][0]
    assert first["l0"] == pytest.approx(8 * 0.98 + 0.05)
    assert (first["sparsity_by"], first["sparsity"], first["dictionaries"]) == ("k", 8, 2)
    best = max(
        (cell for cell in grid["cells"] if cell["dead_share"] <= 0.2),
        key=lambda cell: cell["ceiling"],
    )
    assert grid["cells"][grid["recommended"]] == best


def test_crosscoders_are_told_by_group_and_pair(everything: Any) -> None:
    pair = everything["crosscoders"]["both"]["base->lua"]
    assert pair["live"] == 600
    assert sum(pair["kinds_shares"].values()) == pytest.approx(1.0)
