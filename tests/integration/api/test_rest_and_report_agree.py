"""REST and results.json say the same of a finished experiment, number by number.

A field that only one of the two has must be listed here, with the reason why the other lacks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from services.analyzer.report import stage as report
from shared.lineage.edge import Edge
from shared.settings import Settings
from tests.support.api.client import local_client
from tests.support.api.lineage_world import EVERYTHING, World

Values = Mapping[str, Any]

ELSEWHERE = "where an artifact is, and whether it is finished: a report has finished ones only"
DRAWN = "results.json has what figures and tables are made of"
MEASURED = ("loss", "loss_reconstructed", "loss_zero", "loss_mean", "tokens", "density_histogram")
REST_ONLY: dict[str, dict[str, str]] = {
    "edge": {
        **dict.fromkeys(("finished", "key", "not_finished"), ELSEWHERE),
        "relation": "results.json lists edges and ancestors apart",
        "planned_threshold": "results.json has one threshold, the planned one",
        "floor": "results.json has one threshold, the planned one",
        "tokens": "results.json has it once for a tracking, in `trackings`",
        "persist_any_child": "REST alone lists the features of the child's side",
        "explained": "results.json has it apart, in `explained_edges`",
    },
    "model": dict.fromkeys(("finished", "key", "files"), ELSEWHERE),
    "dictionary": dict.fromkeys(("key", "files"), ELSEWHERE),
    "sweep": {
        **dict.fromkeys(("finished", "key"), ELSEWHERE),
        "steps": "results.json has the points themselves",
    },
    "evaluation of a sweep": {"tokens": "curves are drawn of losses and accuracies alone"},
    "grid": {"name": "the key of the entry in results.json", "not_finished": ELSEWHERE},
    "cell": {"cell": "its place in results.json"},
    "crosscoder": {
        **dict.fromkeys(("key", "files"), ELSEWHERE),
        "group": "the key of the entry in results.json",
    },
    "explanation": {"label": "results.json has it once, in `explanation_scores`"},
}
REPORT_ONLY: dict[str, dict[str, str]] = {
    "model": dict.fromkeys(("steps", "trained_tokens"), DRAWN),
    "dictionary": dict.fromkeys(("width", "vectors", "variant", *MEASURED), DRAWN),
    "sweep": dict.fromkeys(("crossing", "crossings", "crossings_loss", "merges"), DRAWN),
    "grid": dict.fromkeys(("tokens", "seeds", "min_firings"), "REST leaves them to the spec"),
    "crosscoder": dict.fromkeys(("live", "kinds_shares"), DRAWN),
    "explained edge": {"reading": "the page's word for how the two intervals lie"},
    "explanation": {"tracking": "REST lists one tracking"},
}


@contextmanager
def comparing(kind: str) -> Iterator[Callable[[Values, Values], None]]:
    """Compares pairs of entries: what both have is equal, and the rest is listed above.

    In the end everything that is listed has been met.
    """
    alone: dict[str, set[str]] = {"REST": set(), "results.json": set()}

    def agree(rest: Values, reported: Values) -> None:
        alone["REST"] |= rest.keys() - reported.keys()
        alone["results.json"] |= reported.keys() - rest.keys()
        both = rest.keys() & reported.keys()
        assert {name: rest[name] for name in both} == {name: reported[name] for name in both}

    yield agree
    assert alone["REST"] == REST_ONLY.get(kind, {}).keys()
    assert alone["results.json"] == REPORT_ONLY.get(kind, {}).keys()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:  # only results.json is looked at
        patch.setattr(report.images, "write", lambda *_: None)
        patch.setattr(report.page, "render", lambda *_: "")
        yield World(tmp_path_factory.mktemp("world"), changes=EVERYTHING, varied=True)


@pytest.fixture(scope="module")
def api(world: World, redis_url: str) -> Iterator[TestClient]:
    settings = Settings(data=world.data, redis_url=redis_url, rate="off")
    with local_client(settings) as client:
        client.base_url = client.base_url.join(f"/v1/experiments/{world.experiment.id}/")
        yield client


@pytest.fixture(scope="module")
def results(api: TestClient) -> dict[str, Any]:
    return get(api, "results")


def get(api: TestClient, path: str, **query: Any) -> Any:
    answer = api.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ends(edge: Values) -> tuple[str, str, str]:
    """What an edge is known by."""
    return edge["tracking"], edge["parent"], edge["child"]


def test_every_edge_and_ancestor_pair(api: TestClient, results: dict[str, Any]) -> None:
    for listing, ancestors in (("edges", False), ("ancestors", True)):
        reported = {ends(edge): edge for edge in results[listing]}
        shown = {ends(edge): edge for edge in get(api, "edges", ancestors=ancestors)}
        assert shown.keys() == reported.keys()
        assert len({tracking for tracking, _, _ in shown}) == 4
        with comparing("edge") as agree:
            for pair, edge in shown.items():
                agree(edge, reported[pair])
                alone = get(api, f"edges/{pair[1]}/{pair[2]}", tracking=pair[0])
                assert {name: alone[name] for name in edge} == edge


def test_every_field_of_an_edge_is_known_somewhere(results: dict[str, Any]) -> None:
    everywhere = [*results["edges"], *results["ancestors"]]
    for name in Edge.model_fields:
        assert any(edge[name] not in (None, 0, []) for edge in everywhere), name
    points = [point for edge in everywhere for point in edge["curve"]]
    for name in points[0]:
        assert any(point[name] is not None for point in points), name
    for of in ("edge", "ceiling", "null"):
        assert any(edge["best_r"][of] for edge in everywhere), of
    assert {edge["controls"] for edge in everywhere} == {"seeds", "warm", None}
    assert any(edge["alive_parent"] == 0 for edge in everywhere)


COUNTED = {
    "parent": {"persist": "persist", "split": "split", "merge": "merge", "disappear": "disappear"},
    "child": {"split": "split_child", "merge": "merge_child", "emerge": "emerge"},
}  # by side, the status of features that a count is of


def test_counts_are_those_of_the_listed_features(api: TestClient, results: dict[str, Any]) -> None:
    for edge in results["edges"]:
        path = f"edges/{edge['parent']}/{edge['child']}"
        for side, names in COUNTED.items():
            for status, name in names.items():
                query = {"tracking": edge["tracking"], "side": side, "status": status, "size": 1}
                assert get(api, path, **query)["matches"]["total"] == edge[name]


def in_rests_words(name: str, results: Values) -> Values:
    """A model of results.json with the names that REST has for the same."""
    model = dict(results["models"][name])
    checkpoint, evaluation = model.pop("checkpoint"), model.pop("corpora")
    assert (model["kind"] == "checkpoint") == (checkpoint is not None)
    untrained = results["untrained"].get(name)
    return {
        **model,
        "kind": "pretrain" if checkpoint else model["kind"],  # that of the checkpoint's model
        "step": checkpoint["step"] if checkpoint else None,
        "evaluation": evaluation,
        "untrained": untrained["corpora"] if untrained else None,
    }


def test_every_model_and_dictionary(api: TestClient, results: dict[str, Any]) -> None:
    models = {model.pop("name"): model for model in get(api, "models")}
    assert models.keys() == results["models"].keys()
    with comparing("model") as agree, comparing("dictionary") as agree_on_dictionary:
        for name, model in models.items():
            dictionaries = model.pop("dictionaries")
            assert len(dictionaries) == 3
            for own, other in zip(dictionaries, results["dictionaries"][name], strict=True):
                agree_on_dictionary(own, other)
            agree(model, in_rests_words(name, results))


def test_every_sweep(api: TestClient, results: dict[str, Any]) -> None:
    sweeps = {sweep.pop("name"): sweep for sweep in get(api, "sweeps")}
    assert sweeps.keys() == results["sweeps"].keys() != set()
    with comparing("sweep") as agree, comparing("evaluation of a sweep") as agree_on_evaluation:
        for name, sweep in sweeps.items():
            reported = dict(results["sweeps"][name])
            points = zip(sweep.pop("points"), reported.pop("points"), strict=True)
            references = (sweep.pop("reference"), reported.pop("reference"))
            agree(sweep, reported)
            for own, other in (*points, references):
                measured, also_measured = own.pop("corpora"), other.pop("corpora")
                assert own == other
                assert measured.keys() == also_measured.keys()
                for corpus, values in measured.items():
                    agree_on_evaluation(values, also_measured[corpus])


def test_every_grid_cell_and_the_one_to_use(api: TestClient, results: dict[str, Any]) -> None:
    for name, reported in results["stability"].items():
        grid, reported = get(api, f"stability/{name}"), dict(reported)
        cells = list(zip(grid.pop("cells"), reported.pop("cells"), strict=True))
        assert len(cells) == 4
        with comparing("cell") as agree:
            for place, (own, other) in enumerate(cells):
                agree(own, other)
                assert own["cell"] == place
        with comparing("grid") as agree:
            agree(grid, reported)
        assert grid["recommended"] is not None


def test_every_crosscoder(api: TestClient, results: dict[str, Any]) -> None:
    assert results["crosscoders"].keys() == {"cross", "other"}
    with comparing("crosscoder") as agree:
        for group, reported in results["crosscoders"].items():
            assert len(reported) == len(results["edges"]) / 4
            for pair, other in reported.items():
                own = get(api, f"crosscoders/{pair.replace('->', '/')}", group=group)
                agree(own, other)


def test_every_universal_feature(api: TestClient, results: dict[str, Any]) -> None:
    numbers = Counter(chain["tracking"] for chain in results["universal"])
    assert {name: one["universal"] for name, one in results["trackings"].items()} == {
        name: numbers[name] for name in results["trackings"]
    }
    assert numbers.keys() == {"main", "warm", "bare"}
    for chain in results["universal"]:
        name, link = next(iter(chain["models"].items()))
        feature = get(api, f"features/{name}/{link['feature']}", tracking=chain["tracking"])
        assert {**feature["chain"], "tracking": chain["tracking"]} == chain


def test_every_explanation(api: TestClient, results: dict[str, Any]) -> None:
    compared = 0
    with comparing("explanation") as agree:
        for scores in results["explanation_scores"]:
            place = {name: scores[name] for name in ("tracking", "method")}
            page = get(api, f"explanations/{scores['model']}", **place, size=100)
            assert page["total"] == scores["features"]
            shown = {row["feature"]: row for row in page["items"]}
            assert {row["label"] for row in shown.values()} == {scores["label"]}
            for row in results["explanations"][scores["model"]]:
                if {name: row[name] for name in place} == place:
                    agree(shown[row["feature"]], row)
                    compared += 1
    assert compared == sum(len(rows) for rows in results["explanations"].values()) > 100


def test_every_explained_edge(api: TestClient, results: dict[str, Any]) -> None:
    reported = {(*ends(one), one["method"]): one for one in results["explained_edges"]}
    with comparing("explained edge") as agree:
        for edge in get(api, "edges"):
            place = {name: edge[name] for name in ("tracking", "parent", "child")}
            for explained in edge["explained"]:
                agree({**place, **explained}, reported.pop((*ends(edge), explained["method"])))
    assert reported == {}


def test_what_a_feature_does(api: TestClient, results: dict[str, Any]) -> None:
    for label in results["labels"]:
        path = f"features/{label['model']}/{label['feature']}"
        feature, about = get(api, path, tracking=label["tracking"]), label["about"]
        for name in ("density", "max", "positions", "corpora"):
            assert feature[name] == about[name], name
        for name in ("raised", "lowered"):
            effects = [{key: one[key] for key in ("token", "effect")} for one in feature[name]]
            assert effects[: len(about[name])] == about[name] != []
        for own, other in zip(feature["explanations"], about["explanations"], strict=True):
            assert own == {name: other[name] for name in own}
        for own, other in zip(feature["top"], label["contexts"], strict=False):
            assert {name: own[name] for name in other} == other
        for score in feature["labels"]:  # only those with F1 >= 0.3
            assert score["label"] == label["label"]
            names = ("precision", "recall", "f1")
            assert [score[name] for name in names] == [label[name] for name in names]
