"""Prometheus' configuration and alerts: promtool agrees, and every alert can be acted on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from shared.stages.kinds import SERVICES
from tests.observability.support import (
    NAME,
    PROMETHEUS,
    SUFFIX,
    alerts,
    documented,
    of_others,
    promtool,
)

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
ALERTS = list(alerts())
NAMES = [rule["alert"] for rule in ALERTS]


def test_promtool_accepts_the_configuration_and_its_rules() -> None:
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


def test_every_alert_fires_when_it_should_and_not_before() -> None:
    promtool("test", "rules", *sorted((PROMETHEUS / "tests").glob("*.yml")))


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_unit_test_in_which_it_fires(name: str) -> None:
    fires = False
    for path in (PROMETHEUS / "tests").glob("*.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            fires |= any(
                one["alertname"] == name and one.get("exp_alerts")
                for one in test.get("alert_rule_test", ())
            )
            fires |= any(
                f'alertname="{name}"' in one["expr"] and one["exp_samples"]
                for one in test.get("promql_expr_test", ())
            )
    assert fires


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_every_alert_says_how_urgent_it_is_what_happened_and_where_to_read_on(
    rule: dict[str, dict[str, str]],
) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"].endswith(".")
    anchor = str(rule["alert"]).lower()
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{anchor}"


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_paragraph_in_the_runbook(name: str) -> None:
    if not OPERATIONS.exists():
        pytest.skip("docs/operations.md is not written yet")
    found = re.search(rf"^#+ {name}\n+(.+)", OPERATIONS.read_text(), re.MULTILINE)
    assert found is not None
    assert len(found[1]) > 80


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_alerts_ask_only_for_metrics_that_somebody_exports(rule: dict[str, str]) -> None:
    asked = {SUFFIX.sub("", name) for name in NAME.findall(rule["expr"])}
    assert asked <= {*documented(), *of_others(), "up"}


def test_the_jobs_of_the_configuration_are_those_that_the_page_of_metrics_names() -> None:
    configured = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
    services = ("api", "reconciler", *SERVICES)
    jobs = {one["job_name"] for one in configured}
    assert {f"lineament-{service}" for service in services} <= jobs
    assert {"dcgm", "minio", "redis"} <= jobs
