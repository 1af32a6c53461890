"""The dashboards: generated, whole, and in the language that Prometheus speaks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import yaml

from tests.observability.support import (
    DASHBOARDS,
    PLACE,
    SUFFIX,
    documented,
    expressions,
    of_others,
    promtool,
)

FILES = sorted(DASHBOARDS.glob("*.json"))


def test_there_are_the_five_dashboards() -> None:
    names = ["dictionaries", "overview", "queue", "store", "training"]
    assert [path.stem for path in FILES] == names


def test_generating_them_again_gives_the_same_bytes() -> None:
    if importlib.util.find_spec("grafana_foundation_sdk") is None:
        pytest.skip("grafana-foundation-sdk is not installed")
    from observability.dashboards.__main__ import dashboards
    from observability.dashboards.panels import text_of

    made = {name: text_of(one) for name, one in dashboards().items()}
    assert made == {path.stem: path.read_text() for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_has_panels_that_explain_themselves(path: Path) -> None:
    board = json.loads(path.read_text())
    source = yaml.safe_load(
        (PLACE / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text()
    )["datasources"][0]["uid"]
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert board["uid"] == f"lineament-{path.stem}"
    assert len(panels) > 5
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == source
        assert panel["targets"], panel["title"]


def test_promtool_can_read_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:expression:{number}", "expr": one.over("5m")}
        for number, one in enumerate(expressions())
    ]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]})
    )
    promtool("check", "rules", tmp_path / "rules.yml")


def test_panels_ask_only_for_metrics_that_somebody_exports() -> None:
    known = {*documented(), *of_others(), "up", "ALERTS", "process_resident_memory_bytes"}
    for one in expressions():
        assert {SUFFIX.sub("", name) for name in one.names} <= known, one


def test_every_metric_of_ours_is_on_a_dashboard_or_in_an_alert() -> None:
    rules = "".join(path.read_text() for path in (PLACE / "prometheus" / "rules").glob("*.yml"))
    shown = {SUFFIX.sub("", name) for one in expressions() for name in one.names}
    # Sizes of requests and times by route are for questions that no panel asks every day.
    rest = {
        "lineament_build_info",
        "lineament_http_request_duration_seconds",
        "lineament_http_request_size_bytes",
        "lineament_http_response_size_bytes",
    }
    assert {name for name in documented() if name not in rules} - shown == rest
