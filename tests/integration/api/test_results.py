"""Models, sweeps, edges, features and results over REST, on the files that real stages wrote."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from api.stored.matches import KEPT
from services.analyzer.match.edge import EdgeMatches
from shared.lineage.statuses import STATUSES
from shared.settings import Settings
from tests.support.api.client import local_client
from tests.support.api.lineage_world import FEATURES, World
from tests.support.oracles import match_codes

ORIGIN = "http://127.0.0.1:8000"


def client_of(world: World, redis_url: str) -> TestClient:
    return local_client(Settings(data=world.data, redis_url=redis_url, rate="off"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def api(world: World, redis_url: str) -> Iterator[TestClient]:
    with client_of(world, redis_url) as client:
        client.base_url = client.base_url.join(f"/v1/experiments/{world.experiment.id}/")
        yield client


@pytest.fixture(scope="module")
def results(api: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = api.get("results").json()
    return found


def rows_of(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.text)))


def all_pages(api: TestClient, path: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        answer = api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()["matches"]
        found += page["items"]
        assert page["total"] >= len(found)
        if page["next_page"] is None:
            return found
        query["cursor"] = page["next_page"]


# ---------------------------------------------------------------------- models and sweeps


def test_models_are_listed_with_what_was_measured(api: TestClient, world: World) -> None:
    models = {one["name"]: one for one in api.get("models").json()}

    assert list(models) == ["base", "left", "right", "merged"]
    assert models["base"]["kind"] == "pretrain"
    assert models["merged"]["parents"] == ["left", "right"]
    assert models["merged"]["merge"]["t"] == 0.5
    assert models["base"]["parameters"] == 4711
    assert models["base"]["evaluation"]["code"] == {"loss": 3.0, "accuracy": 1 / 3, "tokens": 900}
    assert models["base"]["untrained"] is not None
    assert models["left"]["untrained"] is None
    assert [one["seed"] for one in models["left"]["dictionaries"]] == [0, 1]
    assert models["left"]["dictionaries"][0]["explained_variance"] == 0.75


def test_a_model_says_where_its_files_can_be_had(api: TestClient, world: World) -> None:
    model = api.get("models/left").json()
    manifest = api.get(ORIGIN + model["files"]).json()
    assert manifest["key"] == model["key"]
    content = api.get(f"{ORIGIN}{model['files']}/files/model.safetensors").content
    laid_out = world.artifacts.lay_out(world.manifest("model/left"), world.data)
    assert content == (laid_out / "model.safetensors").read_bytes()


def test_a_sweep_gives_its_points_and_its_reference(api: TestClient) -> None:
    sweep = api.get("sweeps/between").json()

    assert [point["t"] for point in sweep["points"]] == [0, 0.25, 0.5, 0.75, 1]
    assert list(sweep["points"][0]["corpora"]) == ["code", "tales"]
    assert sweep["reference"]["model"] == "base"
    assert sweep["reference"]["corpora"]["tales"]["loss"] == 4.0


def test_a_sweep_as_csv_is_the_table_of_the_report(api: TestClient) -> None:
    own = rows_of(api.get("sweeps/between", headers={"Accept": "text/csv"}))
    assert own == rows_of(api.get("results", params={"table": "sweeps"}))
    assert len(own) == 10


# ---------------------------------------------------------------------------------- edges


def test_edges_have_the_numbers_of_the_report(api: TestClient, results: dict[str, Any]) -> None:
    edges = api.get("edges").json()

    assert len(edges) == len(results["edges"]) == 4
    for own, reported in zip(edges, results["edges"], strict=True):
        assert {name: own[name] for name in reported} == reported
        assert own["null"] is not None
        assert own["ceiling"] is not None
        assert own["not_finished"] == []


def expected(world: World, threshold: float, parent: str, child: str) -> EdgeMatches:
    return match_codes(world.codes[parent, 0], world.codes[child, 0], threshold, 10)


@pytest.mark.parametrize("threshold", [0.2, 0.35, 0.5, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("edge", [("base", "left"), ("right", "merged")])
def test_an_edge_at_any_threshold_is_what_matching_at_it_gives(
    api: TestClient, world: World, threshold: float, edge: tuple[str, str]
) -> None:
    want = expected(world, threshold, *edge)
    path = f"edges/{edge[0]}/{edge[1]}"

    about = api.get(path, params={"threshold": threshold}).json()

    for name, value in want.counts(threshold).items():
        if not name.startswith("best_r"):
            assert about[name] == value
    statuses = want.statuses(threshold)
    for side, mine, status in (
        ("parent", want.parent, statuses[0]),
        ("child", want.child, statuses[1]),
    ):
        rows = all_pages(api, path, threshold=threshold, side=side, size=20)
        assert [row["feature"] for row in rows] == list(range(FEATURES))
        assert [row["partner"] for row in rows] == [
            None if one < 0 else one for one in mine.partner_F.tolist()
        ]
        assert [row["r"] or 0 for row in rows] == np.nan_to_num(mine.r_F).tolist()
        assert [row["status"] for row in rows] == status.tolist()
        assert [row["mutual"] for row in rows] == mine.mutual_F.tolist()
        multiple = np.nan_to_num(mine.multiple_r_F)
        assert [row["multiple_r"] or 0 for row in rows] == multiple.tolist()
        for row in rows:
            assert row["parts"] == mine.parts(row["feature"]).tolist()
        assert [row["firings"] for row in rows] == mine.firings_F.tolist()


def test_controls_move_with_the_threshold(api: TestClient, world: World) -> None:
    about = api.get("edges/base/left", params={"threshold": 0.5}).json()
    planned = api.get("edges/base/left").json()
    stored = world.manifest("match/main/base/left").results

    codes = world.codes
    ceiling = match_codes(codes["base", 0], codes["base", 1], 0.5, 10).counts(0.5)
    crossed = match_codes(codes["base", 0], codes["left", 1], 0.5, 10).counts(0.5)
    assert (about["ceiling"], about["ceiling_any"]) == (ceiling["share"], ceiling["share_any"])
    assert about["crossed"] == crossed["share"]
    assert about["share_of_ceiling"] == about["share"] / about["ceiling"]
    assert about["ceiling"] > planned["ceiling"]
    assert (about["threshold"], about["planned_threshold"]) == (0.5, 0.8)
    # the null is read off the curve, and the adjusted share made of it
    point = next(one for one in stored["curve"] if one["threshold"] == 0.5)
    assert (about["null"], about["null_any"]) == (point["null"], point["null_any"])
    assert about["adjusted"] == pytest.approx(
        (about["share"] - point["null"]) / (ceiling["share"] - point["null"])
    )
    assert about["curve"] == planned["curve"]
    shown = next(one for one in about["curve"] if one["threshold"] == 0.5)
    assert shown["adjusted"] == about["adjusted"]


def test_between_the_points_of_the_curve_the_null_is_not_known(api: TestClient) -> None:
    about = api.get("edges/base/left", params={"threshold": 0.62}).json()
    assert about["share"] is not None
    for name in (
        "null",
        "baseline",
        "adjusted",
        "interval",
        "adjusted_interval",
        "cosine",
        "scaling",
    ):
        assert about[name] is None
    assert about["significant"] is not None  # does not depend on a threshold


def test_an_edge_has_intervals_and_both_controls(api: TestClient) -> None:
    edge = api.get("edges/base/left").json()
    for name in ("interval", "ceiling_interval", "adjusted_interval", "crossed_interval"):
        low, high = edge[name]
        assert low <= high
    assert edge["interval"][0] <= edge["share"] <= edge["interval"][1]
    assert edge["controls"] == "seeds"
    assert edge["null"] < edge["share"]
    assert edge["scaling"]["false_disappear"] == 2
    assert edge["cosine"]["mean"] is not None
    assert edge["not_finished"] == []


def test_pairs_of_ancestor_and_descendant_are_edges_too(api: TestClient, world: World) -> None:
    (pair,) = api.get("edges", params={"ancestors": True}).json()
    assert (pair["parent"], pair["child"], pair["relation"]) == ("base", "merged", "ancestor")
    assert pair["share"] == world.manifest("ancestor/main/base/merged").results["share"]
    listed = api.get("edges/base/merged").json()
    assert {name: listed[name] for name in pair} == pair
    assert len(all_pages(api, "edges/base/merged")) == FEATURES


def test_a_threshold_below_the_floor_is_refused_and_the_floor_named(api: TestClient) -> None:
    for path in ("edges/base/left", "edges"):
        answer = api.get(path, params={"threshold": 0.1})
        assert answer.status_code == 422
        assert "0.2" in answer.json()["detail"]
        assert answer.json()["errors"][0]["field"] == "threshold"


@pytest.mark.parametrize("wrong", ["0", "-1", "1.5", "nan", "x", "inf"])
def test_a_threshold_that_is_none_is_refused(api: TestClient, wrong: str) -> None:
    assert api.get("edges/base/left", params={"threshold": wrong}).status_code == 422


def test_matches_are_filtered_by_status(api: TestClient) -> None:
    everything = all_pages(api, "edges/base/right")
    kinds = {row["status"] for row in everything}
    assert {"persist", "disappear", "rare"} <= kinds <= {*STATUSES} - {"emerge"}
    for kind in kinds:
        some = all_pages(api, "edges/base/right", status=kind)
        assert some == [row for row in everything if row["status"] == kind]
    both = all_pages(api, "edges/base/right", status=["persist", "rare"])
    assert both == [row for row in everything if row["status"] in ("persist", "rare")]
    assert all_pages(api, "edges/base/right", status="emerge") == []


@pytest.mark.parametrize("sort", ["firings", "best_r", "r", "multiple_r", "q"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_matches_are_sorted_and_those_without_a_value_come_last(
    api: TestClient, sort: str, order: str
) -> None:
    rows = all_pages(api, "edges/base/left", sort=sort, order=order, size=7)

    values = [row[sort] for row in rows]
    known = [value for value in values if value is not None]
    assert values == known + [None] * (len(values) - len(known))
    assert known == sorted(known, reverse=order == "desc")
    assert sorted(row["feature"] for row in rows) == list(range(FEATURES))


def test_matches_as_csv_come_whole(api: TestClient) -> None:
    rows = rows_of(
        api.get(
            "edges/base/left",
            params={"side": "child", "sort": "r", "order": "desc", "size": 3},
            headers={"Accept": "text/csv"},
        )
    )
    pages = all_pages(api, "edges/base/left", side="child", sort="r", order="desc")
    assert len(rows) == FEATURES
    parts = [" ".join(str(part) for part in row["parts"]) for row in pages]
    assert rows == [
        {
            name: "" if value is None else str(value)
            for name, value in (row | {"parts": own}).items()
        }
        for row, own in zip(pages, parts, strict=True)
    ]


@pytest.mark.parametrize("cursor", ["nonsense", "LTU=", "JUZG", "MTIzNDU2Nzg5MDEyMzQ1Njc4"])
def test_a_broken_cursor_is_refused_in_a_sentence(api: TestClient, cursor: str) -> None:
    answer = api.get("edges/base/left", params={"cursor": cursor})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "cursor"


def test_only_a_few_edges_stay_in_memory(api: TestClient) -> None:
    for threshold in np.linspace(0.3, 0.9, KEPT + 5).tolist():
        api.get("edges/base/left", params={"threshold": threshold})
    edges = api.app.state.backend.edges  # type: ignore[attr-defined]
    assert edges.at.cache_info().currsize == KEPT


# -------------------------------------------------------------------------------- features


def test_a_feature_says_where_it_fires_and_what_became_of_it(api: TestClient, world: World) -> None:
    feature = api.get("features/base/7").json()

    codes = world.codes["base", 0]
    assert feature["tokens"] == codes.tokens
    assert feature["firings"] == codes.firings[7]
    assert feature["max"] == pytest.approx(codes.by_feature().of(7)[1].max())
    assert sum(feature["corpora"].values()) == pytest.approx(1)
    top = [max(one["activations"]) for one in feature["top"]]
    assert top == sorted(top, reverse=True)
    assert top[0] == pytest.approx(feature["max"])
    assert len(feature["top"][0]["tokens"]) == len(feature["top"][0]["activations"])
    assert {one["corpus"] for one in feature["samples"]} <= {"english", "code"}
    assert [(one["parent"], one["child"], one["side"]) for one in feature["matches"]] == [
        ("base", "left", "parent"),
        ("base", "right", "parent"),
        ("base", "merged", "parent"),
    ]
    assert [one["relation"] for one in feature["matches"]] == ["edge", "edge", "ancestor"]
    assert sum(feature["positions"]) == pytest.approx(1)
    assert len(feature["positions"]) == 8
    assert sum(feature["histogram"]) == codes.firings[7]
    assert len(feature["raised"]) == len(feature["lowered"]) == 8
    assert feature["raised"][0]["effect"] > 0 > feature["lowered"][0]["effect"]
    effects = [one["effect"] for one in feature["raised"]]
    assert effects == sorted(effects, reverse=True)
    assert {"fate": "universal", "model": None} in feature["fate"]
    assert {one["status"] for one in feature["matches"]} == {"persist"}


def test_a_universal_feature_names_its_chain(api: TestClient, results: dict[str, Any]) -> None:
    assert results["universal"]
    for reported in results["universal"]:
        number = reported["models"]["left"]["feature"]
        feature = api.get(f"features/left/{number}").json()
        assert feature["universal"] is True
        assert feature["chain"]["models"] == reported["models"]
        assert feature["chain"]["weakest_r"] == reported["weakest_r"]
    known = {one["models"]["base"]["feature"] for one in results["universal"]}
    other = next(number for number in range(FEATURES) if number not in known)
    assert api.get(f"features/base/{other}").json()["universal"] is False


def test_a_rare_feature_has_its_values_and_no_partner(api: TestClient) -> None:
    feature = api.get("features/base/0").json()
    assert feature["firings"] < 10
    assert [one["status"] for one in feature["matches"]] == ["rare"] * 3
    assert [one["partner"] for one in feature["matches"]] == [None] * 3
    assert feature["fate"] == []


def test_labels_of_a_feature_are_those_of_its_contexts(api: TestClient, world: World) -> None:
    manifest = world.manifest("contexts/main/left")
    path = world.artifacts.lay_out(manifest, world.data)
    stored = pq.read_table(path / "labels.parquet").to_pylist()
    for number in range(FEATURES):
        shown = api.get(f"features/left/{number}").json()["labels"]
        want = [{**row} for row in stored if row["feature"] == number]
        assert [{"feature": number, **one} for one in shown] == want


def test_a_feature_at_another_threshold(api: TestClient) -> None:
    at_one = api.get("features/base/40", params={"threshold": 1.0}).json()
    assert {one["partner"] for one in at_one["matches"]} == {None}
    assert {one["threshold"] for one in at_one["matches"]} == {1.0}


# --------------------------------------------------------------------------------- results


def test_results_are_the_file_of_the_report(api: TestClient, world: World) -> None:
    answer = api.get("results")
    manifest = world.artifacts.manifest(world.experiment.plan.stages[-1].key)
    assert manifest is not None
    path = world.artifacts.lay_out(manifest, world.data) / "results.json"
    assert answer.content == path.read_bytes()
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept"
    again = api.get("results", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


def test_every_listed_table_is_csv(api: TestClient) -> None:
    tables = api.get("results/tables").json()
    assert {"models", "edges", "sweeps", "features_base"} <= {one["name"] for one in tables}
    for table in tables:
        answer = api.get(ORIGIN + table["url"], headers={"Accept": "text/csv"})
        assert rows_of(answer)
        assert len(answer.content) == table["bytes"]


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("results", "text/html"),
        ("results?table=edges", "application/json"),
        ("edges/base/left", "image/png"),
        ("sweeps/between", "text/csv;q=0"),
    ],
)
def test_what_cannot_be_had_in_that_form_is_406(api: TestClient, path: str, accept: str) -> None:
    answer = api.get(path, headers={"Accept": accept})
    assert answer.status_code == 406
    assert answer.json()["status"] == 406


def test_csv_without_a_table_asks_which(api: TestClient) -> None:
    answer = api.get("results", headers={"Accept": "text/csv"})
    assert answer.status_code == 422
    assert "edges" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("models/nobody", "base, left, right, merged"),
        ("sweeps/none", "between"),
        ("edges/left/base", "base -> left"),
        ("edges/base/nobody", "base -> left"),
        ("edges?tracking=other", "main"),
        ("edges/base/left?tracking=other", "main"),
        ("features/nobody/1", "base, left"),
        (f"features/base/{FEATURES}", "no feature"),
        ("results?table=../results", "no table"),
    ],
)
def test_an_unknown_name_is_404_and_the_known_ones_are_named(
    api: TestClient, path: str, says: str
) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert says in answer.json()["detail"]


# --------------------------------------------------------------------------- not finished


def test_everything_answers_as_soon_as_its_own_stages_are_done(
    tmp_path: Path, redis_url: str
) -> None:
    missing = ("match left -> merged", "track main", "sweep from", "evaluate left")
    world = World(tmp_path, lambda stage: not stage.title.startswith(missing))
    with client_of(world, redis_url) as api:
        base = f"/v1/experiments/{world.experiment.id}"
        edges = {(one["parent"], one["child"]): one for one in api.get(f"{base}/edges").json()}
        assert edges["base", "left"]["finished"]
        assert edges["base", "left"]["share"] is not None
        assert not edges["left", "merged"]["finished"]
        assert edges["left", "merged"]["not_finished"] == [
            "match left -> merged",
            "match left -> merged, crossed seeds",
            "look for changed features of left -> merged in the other model",
        ]

        refused = {
            "edges/left/merged": "match left -> merged",
            "sweeps/between": "sweep from left",
            "results": "write report",
            "results/tables": "write report",
        }
        for path, title in refused.items():
            answer = api.get(f"{base}/{path}")
            assert answer.status_code == 404
            assert answer.json()["detail"].startswith(f"not finished yet: {title}")

        model = api.get(f"{base}/models/left").json()
        assert model["finished"]
        assert model["evaluation"] is None
        feature = api.get(f"{base}/features/merged/3").json()
        assert [one["parent"] for one in feature["matches"]] == ["right", "base"]
        assert feature["fate"] is None
        assert feature["universal"] is None
        assert feature["not_finished"] == ["match left -> merged", "track main"]


def test_which_tracking_is_asked_for_must_be_clear(tmp_path: Path, redis_url: str) -> None:
    second = {"dictionary": "mlp", "corpora": ["english"], "tokens": 900, "threshold": 0.1}
    world = World(tmp_path, lambda _: False, (("tracking.second", second),))
    with client_of(world, redis_url) as api:
        base = f"/v1/experiments/{world.experiment.id}"
        for path in ("edges/base/left", "features/base/1"):
            answer = api.get(f"{base}/{path}")
            assert answer.status_code == 422
            assert answer.json()["detail"] == "tracking: name one of the trackings main, second"
            assert api.get(f"{base}/{path}?tracking=second").status_code == 404
        floors = [one["floor"] for one in api.get(f"{base}/edges?tracking=second").json()]
        assert floors == [0.1] * 4
        assert json.dumps(api.get(f"{base}/models").json()).count("null") > 20


# --------------------------------------------- checkpoints, grids, crosscoders, warm starts


GRID = {
    "model": "base", "layer": 1, "variant": "topk", "features": [32, 48], "k": [4, 8],
    "tokens": 5000, "evaluate_tokens": 500, "tracking_tokens": 2000, "corpora": ["english", "code"],
}  # fmt: skip
CROSS = {"variant": "crosscoder", "layer": 1, "features": 48, "k": 8, "tokens": 5000,
         "evaluate_tokens": 500}  # fmt: skip


@pytest.fixture(scope="module")
def grown(
    tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> Iterator[tuple[World, TestClient]]:
    changes = (
        ("models.base.pretrain.checkpoints", [2, 5]),
        ("stability.grid", GRID),
        ("dictionaries.cross", CROSS),
        ("dictionaries.mlp.init", "parent"),
    )
    missing = ("evaluate dictionary of grid grid (48 features, k 8)", "write report",
               "train crosscoder cross of left -> merged")  # fmt: skip
    small = ("corpus", "tokens", "tokenizer", "initialise", "train", "checkpoint", "merge",
             "dictionary", "dictionary_set", "dictionary_member", "evaluate_dictionary",
             "crosscoder")  # fmt: skip
    world = World(
        tmp_path_factory.mktemp("grown"),
        lambda stage: (
            not stage.title.startswith(missing) and (stage.kind in small or "grid" in stage.title)
        ),
        changes,
    )
    with client_of(world, redis_url) as client:
        client.base_url = client.base_url.join(f"/v1/experiments/{world.experiment.id}/")
        yield world, client


def test_checkpoints_are_listed_before_their_model(grown: tuple[World, TestClient]) -> None:
    _, api = grown
    models = {one["name"]: one for one in api.get("models").json()}
    assert list(models)[:4] == ["base@2", "base@5", "base", "left"]
    assert models["base@5"]["parents"] == ["base@2"]
    assert models["base"]["parents"] == ["base@5"]
    assert (models["base@5"]["step"], models["base"]["step"]) == (5, None)
    one = api.get("models/base@5").json()
    assert one == models["base@5"]
    assert one["dictionaries"][0]["group"] == "mlp"
    assert api.get("models/base@3").status_code == 404


def test_edges_of_warm_starts_name_their_own_controls(grown: tuple[World, TestClient]) -> None:
    _, api = grown
    edges = {(one["parent"], one["child"]): one for one in api.get("edges").json()}
    edge = edges["base@2", "base@5"]
    assert edge["controls"] == "warm"
    assert "match base@2 with itself, started again (ceiling)" in edge["not_finished"]
    assert "match base@2 with an untrained model (floor)" in edge["not_finished"]


def test_a_grid_names_its_cells_and_the_one_to_use(grown: tuple[World, TestClient]) -> None:
    world, api = grown
    grid = api.get("stability/grid").json()
    assert [(one["features"], one["sparsity_by"], one["sparsity"]) for one in grid["cells"]] == [
        (32, "k", 4), (32, "k", 8), (48, "k", 4), (48, "k", 8),
    ]  # fmt: skip
    measured = world.manifest("stability/grid/0/ceiling").results
    first = grid["cells"][0]
    assert (first["ceiling"], first["interval"]) == (measured["share"], measured["interval"])
    assert (first["explained_variance"], first["dictionaries"]) == (0.75, 2)
    assert grid["cells"][3]["explained_variance"] is None
    assert grid["recommended"] == 0  # all are alike, and the last one is not known yet
    assert grid["not_finished"] == [
        f"evaluate dictionary of grid grid (48 features, k 8), seed {seed}" for seed in (0, 1)
    ]
    assert "grid" in api.get("stability/other").json()["detail"]


def test_a_crosscoder_says_what_it_found(grown: tuple[World, TestClient]) -> None:
    world, api = grown
    found = api.get("crosscoders/base/left").json()
    assert (found["group"], found["kinds"]["false_child"]) == ("cross", 3)
    assert found["key"] == world.roles()["crosscoder/cross/base/left"]
    waiting = api.get("crosscoders/left/merged")
    assert waiting.status_code == 404
    assert waiting.json()["detail"].startswith("not finished yet: train crosscoder cross of left")
    unknown = api.get("crosscoders/left/right")
    assert unknown.status_code == 404
    assert "base -> left (cross)" in unknown.json()["detail"]
