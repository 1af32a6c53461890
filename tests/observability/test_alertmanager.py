"""Who is told: by amtool what would happen, and in a real Alertmanager what does."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.observability.alertmanager import (
    CONFIGURATION,
    RECEIVERS,
    alertmanager,
    amtool,
    configuration,
    held_back,
    impatient,
    program,
    raised,
    reads_url_files,
    written,
)
from tests.observability.collector import Collector, collecting
from tests.observability.support import alerts

ALERTS = {rule["alert"]: rule["labels"]["severity"] for rule in alerts()}
PATIENCE = 10.0  # seconds for what takes a few tenths
TRAINER = {"service": "trainer", "job": "lineament-trainer", "instance": "a"}
SAE = {"service": "sae", "job": "lineament-sae", "instance": "b"}
RECONCILER = {"job": "lineament-reconciler", "instance": "c"}


def alert(name: str, labels: dict[str, str] | None = None) -> dict[str, str]:
    """An alert as its rule labels it, shorter by what no route or inhibition looks at."""
    return {
        "alertname": f"Lineament{name}",
        "severity": ALERTS[f"Lineament{name}"],
        **(labels or {}),
    }


def settings(key: str, one: Any) -> list[str]:
    """Every value of a key, at any depth."""
    if isinstance(one, list):
        return [value for entry in one for value in settings(key, entry)]
    if isinstance(one, dict):
        own = [str(one[key])] if key in one else []
        return own + [value for entry in one.values() for value in settings(key, entry)]
    return []


def test_amtool_accepts_the_configuration(tmp_path: Path) -> None:
    said = amtool("check-config", written(CONFIGURATION.read_text(), tmp_path))
    assert f"{len(configuration()['inhibit_rules'])} inhibit rules" in said


def test_amtool_accepts_every_receiver_that_is_given_as_an_example(tmp_path: Path) -> None:
    text, lines = re.subn(
        r"^    # (( {4}|  - )?\w+:.*)$", r"    \1", CONFIGURATION.read_text(), flags=re.MULTILINE
    )
    assert lines > 8
    assert text.count("\n    # ") == 1, "one line of prose is left"
    amtool("check-config", written(text, tmp_path))
    for kind in ("pagerduty_configs", "slack_configs", "email_configs"):
        assert re.search(rf"^    {kind}:$", text, re.MULTILINE)


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_goes_to_the_receiver_of_its_severity(name: str, tmp_path: Path) -> None:
    path = written(CONFIGURATION.read_text(), tmp_path)
    severity = ALERTS[name]
    labels = (f"alertname={name}", f"severity={severity}", "service=trainer")
    amtool(
        "config",
        "routes",
        "test",
        f"--config.file={path}",
        f"--verify.receivers={severity}",
        *labels,
    )


@pytest.mark.parametrize("labels", [[], ["severity=critical"]])
def test_an_alert_of_unknown_severity_is_not_lost(labels: list[str], tmp_path: Path) -> None:
    path = written(CONFIGURATION.read_text(), tmp_path)
    amtool(
        *("config", "routes", "test", f"--config.file={path}"),
        *("--verify.receivers=page", "alertname=Own", *labels),
    )


def test_no_address_and_no_password_is_in_the_configuration() -> None:
    found = configuration()
    urls = settings("url_file", found)
    assert [Path(path).name for path in urls] == ["page", "ticket"]
    assert not settings("url", found)
    files = re.findall(r"(\w+)_file: (\S+)", CONFIGURATION.read_text())
    assert all(str(Path(path).parent) == RECEIVERS for _, path in files)
    assert not re.search(r"\b\w*(password|key|api_url|secret): ", CONFIGURATION.read_text())


def test_alerts_that_are_told_together_are_of_one_kind_and_service() -> None:
    assert configuration()["route"]["group_by"] == ["alertname", "service"]


def test_inhibitions_name_alerts_and_severities_that_exist() -> None:
    for rule in configuration()["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, value = re.split(r" =~? ", matcher)
            known = {"alertname": set(ALERTS), "severity": set(ALERTS.values())}.get(label)
            assert known is None or set(value.split("|")) <= known, matcher


CASES = [
    (alert("CheckpointStale", TRAINER), alert("StageSilent", TRAINER), True),
    (alert("HeartbeatStale", TRAINER), alert("LeasesExpire", TRAINER), True),
    (alert("QueueWaitsWhileWorkersIdle", {"service": "sae"}), alert("StageSilent", SAE), True),
    (alert("CheckpointStale", TRAINER), alert("StageSilent", SAE), False),
    (alert("CheckpointStale", TRAINER), alert("HeartbeatStale", TRAINER), False),
    # Neither has the label service.
    (alert("DiskNearlyFull", {"instance": "a"}), alert("LossNotFinite", {"kind": "train"}), False),
    (alert("RedisDown", {"instance": "r"}), alert("HeartbeatStale", TRAINER), True),
    (alert("RedisDown", {"instance": "r"}), alert("ReconcilerStuck"), True),
    (alert("RedisDown", {"instance": "r"}), alert("StoreErrors", TRAINER), False),
    (alert("StoreErrors", {"job": "lineament-sae"}), alert("CheckpointStale", SAE), True),
    (alert("StoreErrors", {"job": "lineament-sae"}), alert("CheckpointStale", TRAINER), False),
    (alert("StoreErrors", RECONCILER), alert("ReconcilerStuck"), True),
    (alert("ProcessDown", RECONCILER), alert("ReconcilerStuck"), True),
    (alert("ProcessDown", TRAINER), alert("ReconcilerStuck"), False),
    (alert("ReconcilerStuck"), alert("QueueWaitsWhileWorkersIdle", SAE), True),
]

LATER = (alert("QueueWithoutWorkers"), alert("ResumeLoop"))  # are in no case


def names(one: object) -> str | None:
    return one["alertname"].removeprefix("Lineament") if isinstance(one, dict) else None


@pytest.mark.parametrize(("cause", "other", "held"), CASES, ids=names)
def test_a_page_holds_back_what_follows_from_it_and_nothing_else(
    cause: dict[str, str], other: dict[str, str], held: bool, tmp_path: Path
) -> None:
    path = written(CONFIGURATION.read_text(), tmp_path)
    with alertmanager(path, tmp_path) as url:
        raised(url, cause, other)
        # It looks at alerts in their order: when a later pair counts, so does this one.
        raised(url, *(one | {"service": "analyzer"} for one in LATER))
        wait_for(lambda: held_back(url).get(LATER[1]["alertname"], False))
        found = held_back(url)
    assert found[LATER[1]["alertname"]]
    assert not found[cause["alertname"]]
    assert found[other["alertname"]] == held


def test_pages_and_tickets_reach_their_webhooks(tmp_path: Path) -> None:
    with collecting() as receiver:
        path = tmp_path / "alertmanager.yml"
        path.write_text(impatient(f"http://127.0.0.1:{receiver.server_port}"))
        with alertmanager(path, tmp_path) as url:
            raised(url, alert("CheckpointStale", TRAINER), alert("CheckpointStale", SAE))
            raised(url, alert("StageSilent", TRAINER), alert("LossNotFinite", {"kind": "train"}))
            wait_for(lambda: len(receiver.got) >= 3)
            time.sleep(1)  # what is held back would be told by now
    assert told(receiver) == {
        ("/page", "LineamentCheckpointStale", "trainer"),
        ("/page", "LineamentCheckpointStale", "sae"),
        ("/ticket", "LineamentLossNotFinite", ""),
    }


def test_without_a_receiver_alerts_are_shown_and_the_log_says_what_is_missing(
    tmp_path: Path,
) -> None:
    program("amtool")
    if not reads_url_files():
        pytest.skip("this Alertmanager is older than 0.26, and reads no URL from a file")
    path = tmp_path / "alertmanager.yml"
    text = re.sub(r"\b(group_wait|group_interval): \w+", r"\1: 300ms", CONFIGURATION.read_text())
    path.write_text(text.replace(RECEIVERS, str(tmp_path)))
    with collecting() as receiver, alertmanager(path, tmp_path) as url:
        raised(url, alert("RedisDown"))
        missing = f"open {tmp_path / 'page'}: no such file"
        wait_for(lambda: missing in (tmp_path / "log").read_text())
        assert missing in (tmp_path / "log").read_text()
        assert held_back(url) == {"LineamentRedisDown": False}
        # Made later, it counts without a restart.
        (tmp_path / "page").write_text(f"http://127.0.0.1:{receiver.server_port}/page\n")
        wait_for(lambda: bool(receiver.got))
    assert told(receiver) == {("/page", "LineamentRedisDown", "")}


def told(receiver: Collector) -> set[tuple[str, str, str]]:
    """Path, alert and service of every group that reached a webhook."""
    found = set()
    for path, body in receiver.got:
        labels = json.loads(body)["groupLabels"]
        found.add((path, labels["alertname"], labels.get("service", "")))
    return found


def wait_for(condition: Any) -> None:
    """Return when it is so, or when patience ends."""
    end = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
