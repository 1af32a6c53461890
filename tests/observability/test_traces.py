"""Traces: off by default, one setting, and an experiment is one trace whoever works for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import Settings, SettingsError
from shared.telemetry import traces
from tests.observability.collector import Collector, collecting
from tests.support.api.client import local_client
from tests.support.api.rest import submit


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as one:
        yield one


@pytest.fixture
def endpoint(collector: Collector) -> Iterator[str]:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    yield f"http://127.0.0.1:{collector.server_port}"
    traces.shut_tracing()


def test_a_submission_reaches_the_collector_with_the_experiments_own_trace(
    collector: Collector, endpoint: str, redis_url: str, tmp_path: Path
) -> None:
    traces.configure_tracing("api", endpoint)
    with local_client(Settings(data=tmp_path, redis_url=redis_url)) as client:
        number = submit(client)
        client.get("/healthz")
    traces.shut_tracing()

    trace, root = traces.experiment_ids(number)
    assert {path for path, _ in collector.got} == {"/v1/traces"}
    sent = b"".join(body for _, body in collector.got)
    assert trace.to_bytes(16) + b"\x12\x08" + root.to_bytes(8) in sent  # ids of one span
    assert b"lineament-api" in sent
    assert b"HTTP POST" in sent
    assert b"healthz" not in sent
    assert b"HTTP GET" not in sent


def test_a_collector_that_is_away_hinders_nobody(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    traces.configure_tracing("worker", "http://127.0.0.1:9")
    with traces.span("work", "luastories-0123456789") as one:
        assert one is not None
    traces.shut_tracing()


def test_without_the_setting_no_tracing_package_is_loaded() -> None:
    script = (
        "import sys; from shared.telemetry import traces; traces.configure_tracing('api', '')\n"
        "with traces.span('x', 'y') as one: assert one is None\n"
        "traces.begin_experiment('y'); traces.note(None, a=1); traces.shut_tracing()\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("wrong", ["collector:4318", "ftp://collector", "http://"])
def test_an_endpoint_that_is_no_url_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match="LINEAMENT_TRACE_ENDPOINT: must be a URL"):
        Settings(trace_endpoint=wrong)


def test_an_endpoint_without_the_packages_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shared.settings.TRACING", ("opentelemetry_that_is_not.sdk",))
    with pytest.raises(SettingsError, match="lineament\\[traces\\]"):
        Settings(trace_endpoint="http://collector:4318")
