"""A tiny experiment, watched by a real Prometheus: every panel has data, and nobody is paged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.embedded import EmbeddedError, valkey_binary
from shared.settings import TRACING, installed
from shared.telemetry.traces import experiment_ids
from tests.observability.collector import Collector, collecting
from tests.observability.stack import Stack, watched_run
from tests.observability.support import SUFFIX, Expression, binary, documented, expressions

SPEC = Path(__file__).parents[1] / "integration" / "tiny.yaml"
OURS = [one for one in expressions() if one.ours]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Stack]:
    binary("prometheus")
    try:
        valkey_binary()
    except EmbeddedError as error:
        pytest.skip(str(error))
    # Checkpoints often enough that even these stages write some.
    settings = {"LINEAMENT_CHECKPOINT": "0.2"}
    if all(map(installed, TRACING)):
        settings["LINEAMENT_TRACE_ENDPOINT"] = f"http://127.0.0.1:{collector.server_port}"
    with watched_run(SPEC, tmp_path_factory.mktemp("stack"), **settings) as one:
        yield one


@pytest.mark.parametrize("one", OURS, ids=lambda one: f"{one.board}: {one.panel}")
def test_a_panel_has_data(stack: Stack, one: Expression) -> None:
    assert stack.look(one), one.text


def test_what_is_exported_is_what_the_page_of_metrics_says(stack: Stack) -> None:
    moments = {"start": str(stack.began), "end": str(stack.ended)}
    series: list[dict[str, Any]] = stack.ask(
        "series", **{"match[]": '{__name__=~"lineament_.+"}'}, **moments
    )
    found: dict[str, set[str]] = {}
    for labels in series:
        name = SUFFIX.sub("", labels["__name__"])
        found.setdefault(name, set()).update(set(labels) - {"__name__", "job", "instance", "le"})
    assert found == {name: labels for name, (_, labels) in documented().items()}


def test_types_are_what_the_page_of_metrics_says(stack: Stack) -> None:
    for name, (kind, _) in documented().items():
        buckets = stack.range(f"count({name}_bucket)")
        assert bool(buckets) == (kind == "histogram"), name
        assert name.endswith("_total") == (kind == "counter"), name


def test_a_run_without_trouble_raises_no_alert(stack: Stack) -> None:
    assert stack.range('ALERTS{alertstate="firing"}') == []


def test_no_label_has_what_a_user_named(stack: Stack) -> None:
    values = set(stack.ask("label/kind/values")) | set(stack.ask("label/handler/values"))
    assert {"train", "dictionary", "match"} <= values
    assert not {value for value in values if "tiny" in value or "luastories" in value}


def test_the_logs_of_api_worker_and_stages_tell_of_the_same_experiment(stack: Stack) -> None:
    submitted = next(line for line in stack.logged("api") if line.get("status") == 201)
    started = [line for line in stack.logged("worker") if line["event"] == "stage started"]
    assert {line["experiment"] for line in started} == {submitted["experiment"]}
    for line in started:
        assert len(line["stage"]) == 64
        assert len(line["attempt"]) == 32
    saved = next(line for line in stack.logged("worker") if line["event"] == "checkpoint saved")
    assert saved["attempt"] in {line["attempt"] for line in started}


def test_api_and_worker_send_the_spans_of_one_trace(stack: Stack, collector: Collector) -> None:
    if not all(map(installed, TRACING)):
        pytest.skip("the packages of lineament[traces] are not installed")
    submitted = next(line for line in stack.logged("api") if line.get("status") == 201)
    trace = experiment_ids(submitted["experiment"])[0].to_bytes(16)
    for process, span in (("api", b"experiment"), ("worker", b"stage train")):
        sent = b"".join(
            body for _, body in collector.got if f"lineament-{process}".encode() in body
        )
        assert trace in sent
        assert span in sent
