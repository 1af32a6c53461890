"""Explanations over REST, on the files that the real stages wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from shared.settings import Settings
from tests.support.api import rest
from tests.support.api.client import local_client
from tests.support.api.lineage_world import EXPLAINED, HOSTILE, World


def client_of(world: World, redis_url: str) -> TestClient:
    return local_client(Settings(data=world.data, redis_url=redis_url, rate="off"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"), changes=EXPLAINED)


@pytest.fixture(scope="module")
def api(world: World, redis_url: str) -> Iterator[TestClient]:
    with client_of(world, redis_url) as client:
        client.base_url = client.base_url.join(f"/v1/experiments/{world.experiment.id}/")
        yield client


def stored(world: World, method: str, model: str) -> list[dict[str, Any]]:
    """The rows that an explain stage wrote."""
    manifest = world.manifest(f"explain/main/{method}/{model}")
    path = world.artifacts.lay_out(manifest, world.data / "cache") / "explanations.parquet"
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return found


def listed(api: TestClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """All entries of a listing, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        answer = api.get(path, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        assert page["total"] >= len(found)
        if page["next_page"] is None:
            assert page["total"] == len(found)
            return found
        query["cursor"] = page["next_page"]


def test_a_feature_has_the_explanations_of_both_methods(api: TestClient, world: World) -> None:
    for row in stored(world, "language_model", "base"):
        own = api.get(f"features/base/{row['feature']}").json()["explanations"]
        (by_rule,) = [
            one for one in stored(world, "rule", "base") if one["feature"] == row["feature"]
        ]
        assert [one["method"] for one in own] == ["rule", "language_model"]
        assert [one["label"] for one in own] == [None, "a small model"]
        for shown, wanted in zip(own, (by_rule, row), strict=True):
            for name in ("explanation", "status", "density", "score", "detection", "failure"):
                assert shown[name] == wanted[name]


def test_a_feature_that_only_rules_name_has_one_explanation(api: TestClient, world: World) -> None:
    asked = {row["feature"] for row in stored(world, "language_model", "left")}
    feature = next(
        row["feature"] for row in stored(world, "rule", "left") if row["feature"] not in asked
    )
    found = api.get(f"features/left/{feature}").json()
    assert [one["method"] for one in found["explanations"]] == ["rule"]
    assert found["not_finished"] == []


def test_a_match_says_what_the_partner_is_about(api: TestClient, world: World) -> None:
    said = {row["feature"]: row["explanation"] for row in stored(world, "language_model", "left")}
    items = listed_matches(api, "edges/base/left")
    named = [one for one in items if said.get(one["partner"])]
    assert named
    for one in named:
        assert one["partner_explanation"] == said[one["partner"]]
        feature = api.get(f"features/base/{one['feature']}").json()
        (match,) = [m for m in feature["matches"] if m["child"] == "left"]
        assert match["partner_explanation"] == said[one["partner"]]


def test_matches_as_csv_have_the_same_names(api: TestClient) -> None:
    items = listed_matches(api, "edges/base/left")
    answer = api.get("edges/base/left", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert len(rows) == len(items)
    for row, one in zip(rows, items, strict=True):
        for name in ("explanation", "partner_explanation"):
            assert row[name] == (one[name] or "")


def listed_matches(api: TestClient, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(path, params={"size": 100}).json()["matches"]["items"]
    return found


def test_an_edge_says_whether_explanations_carry_over(api: TestClient, world: World) -> None:
    edge = api.get("edges/base/left").json()
    assert [one["method"] for one in edge["explained"]] == ["rule", "language_model"]
    for one in edge["explained"]:
        results = world.manifest(f"explained_edge/main/{one['method']}/base/left").results
        assert one["persist"]["cross"] == results["persist"]["cross"]
        assert one["disappear"] == results["disappear"]
    moved = api.get("edges/base/left", params={"threshold": 0.5}).json()
    assert moved["explained"] == []  # measured on the planned matches


def test_explanations_are_listed_by_feature_rules_first(api: TestClient, world: World) -> None:
    found = listed(api, "explanations/base", size=7)
    assert len(found) == len(stored(world, "rule", "base")) + len(
        stored(world, "language_model", "base")
    )
    places = [(one["feature"], one["method"] == "language_model") for one in found]
    assert places == sorted(places)


def test_explanations_are_found_by_words_in_them(api: TestClient) -> None:
    everything = listed(api, "explanations/base", method="language_model")
    found = listed(api, "explanations/base", method="language_model", search="IN CODE")
    assert 0 < len(found) < len(everything)
    assert all("in code" in one["explanation"] for one in found)
    assert listed(api, "explanations/base", search="no such words") == []
    (hostile,) = listed(api, "explanations/base", search="<script>")
    assert hostile["explanation"] == HOSTILE


def test_explanations_are_sorted_and_those_without_a_score_come_last(api: TestClient) -> None:
    for order in ("asc", "desc"):
        found = listed(api, "explanations/base", method="rule", sort="score", order=order)
        scores = [one["score"] for one in found]
        known = [score for score in scores if score is not None]
        assert known == sorted(known, reverse=order == "desc")
        assert scores[: len(known)] == known
        assert None in scores


def test_explanations_are_filtered_by_status(api: TestClient) -> None:
    found = listed(api, "explanations/base", status=["universal", "disappearing"])
    assert {one["status"] for one in found} == {"universal", "disappearing"}


def test_explanations_as_csv_come_whole_and_harmless(api: TestClient, world: World) -> None:
    answer = api.get("explanations/base", headers={"Accept": "text/csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert len(rows) == len(listed(api, "explanations/base"))
    assert HOSTILE in {row["explanation"] for row in rows}
    assert not [row for row in rows if row["explanation"][:1] in ("=", "+", "-", "@")]


def test_answers_that_carry_hostile_text_are_json_and_nothing_else(api: TestClient) -> None:
    answer = api.get("explanations/base", params={"search": "<script>"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("explanations/nobody", "base, left, right, merged"),
        ("explanations/base?tracking=other", "main"),
    ],
)
def test_an_unknown_name_is_404_and_the_known_ones_are_named(
    api: TestClient, path: str, says: str
) -> None:
    answer = api.get(path)
    assert answer.status_code == 404
    assert says in answer.json()["detail"]


def test_what_is_not_finished_is_named_and_the_rest_is_shown(
    tmp_path: Path, redis_url: str
) -> None:
    missing = ("ask ", "name the features of left")
    world = World(tmp_path, lambda stage: not stage.title.startswith(missing), EXPLAINED)
    with client_of(world, redis_url) as api:
        base = f"/v1/experiments/{world.experiment.id}"
        found = api.get(f"{base}/explanations/base").json()["items"]
        assert {one["method"] for one in found} == {"rule"}
        for path in ("explanations/left", "explanations/base?method=language_model"):
            answer = api.get(f"{base}/{path}")
            assert answer.status_code == 404
            assert answer.json()["detail"].startswith("not finished yet: ")
        feature = api.get(f"{base}/features/left/3").json()
        assert feature["explanations"] == []
        assert [title.split(" ")[0] for title in feature["not_finished"]] == ["name", "ask"]
        edge = api.get(f"{base}/edges/base/left").json()
        assert [one["method"] for one in edge["explained"]] == ["rule"]
        assert any(title.startswith("hold explanations") for title in edge["not_finished"])


def test_an_experiment_without_explanations_says_so(tmp_path: Path, redis_url: str) -> None:
    world = World(tmp_path, lambda stage: stage.kind == "corpus")
    with client_of(world, redis_url) as api:
        answer = api.get(f"/v1/experiments/{world.experiment.id}/explanations/base")
        assert answer.status_code == 404
        assert "explains no features" in answer.json()["detail"]


# ------------------------------------------------------------------------------ submission

TRACKED: dict[str, Any] = {
    **rest.SPEC,
    "dictionaries": {
        "mlp": {"models": "all", "layer": 0, "features": 64, "l1": 1e-3, "tokens": 1000,
                "evaluate_tokens": 500}
    },
    "tracking": {"main": {"dictionary": "mlp", "corpora": ["stories"], "tokens": 500}},
    "explain": {"language_model": True},
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/experiments", "/v1/experiments/plan"])
def test_a_server_without_a_language_model_refuses_a_spec_that_asks_for_one(
    path: str, tmp_path: Path, redis_url: str
) -> None:
    with local_client(Settings(data=tmp_path, redis_url=redis_url)) as api:
        answer = api.post(path, json=TRACKED)
        assert answer.status_code == 422
        (problem,) = answer.json()["errors"]
        assert problem["field"] == "explain.language_model"
        assert api.get("/v1/experiments").json()["items"] == []


def test_neither_address_nor_name_nor_key_of_the_language_model_is_kept(
    tmp_path: Path, redis_url: str
) -> None:
    settings = Settings(
        data=tmp_path,
        redis_url=redis_url,
        explain_url="http://somewhere.example:8000/v1",
        explain_model="secret-model",
        explain_key="secret-key",
        explain_label="ours",
    )
    with local_client(settings) as api:
        number = api.post("/v1/experiments", json=TRACKED).json()["id"]
        plan = api.post("/v1/experiments/plan", json=TRACKED).json()
        told = api.get(f"/v1/experiments/{number}/stages").text
    asked = [s for s in plan["stages"] if s["title"].startswith("ask the language model about")]
    assert len(asked) == 4
    assert all(stage["tokens"] > 0 for stage in asked)
    kept = "".join(path.read_text("utf-8", "replace") for path in tmp_path.rglob("*.json"))
    assert "ours" in kept
    for secret in ("somewhere.example", "secret-model", "secret-key"):
        assert secret not in kept + told
