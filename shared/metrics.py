"""Prometheus metrics of a worker. Labels are bounded: service, kind of stage, ending."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

STAGE_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200)


class WorkerMetrics:
    """Counts what a supervisor does and shows the current values of the stage that runs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("service", "kind")
        self._running = Gauge(
            "lineament_stages_running", "Stages running now.", labels, registry=self.registry
        )
        self._ended = Counter(
            "lineament_attempts_total",
            "Attempts that ended, by ending.",
            (*labels, "ending"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "lineament_stage_seconds",
            "Wall time of an attempt.",
            labels,
            buckets=STAGE_SECONDS,
            registry=self.registry,
        )
        self._progress = Gauge(
            "lineament_stage_progress_ratio",
            "Share of the running stage that is done.",
            labels,
            registry=self.registry,
        )
        self._scalar = Gauge(
            "lineament_stage_value",
            "Current value of a scalar that the running stage reports.",
            (*labels, "scalar"),
            registry=self.registry,
        )

    @contextmanager
    def running(self, service: str, kind: str) -> Iterator[None]:
        """Count a stage as running; its gauges go when it ends."""
        self._running.labels(service, kind).inc()
        try:
            yield
        finally:
            self._running.labels(service, kind).dec()
            self._progress.clear()
            self._scalar.clear()

    def progress(self, service: str, kind: str, event: dict[str, Any]) -> None:
        """Show a progress event."""
        if event["total"]:
            self._progress.labels(service, kind).set(event["done"] / event["total"])
        for name, value in event.items():
            if name not in ("done", "total", "unit") and isinstance(value, int | float):
                self._scalar.labels(service, kind, name).set(value)

    def ended(self, service: str, kind: str, ending: str, seconds: float) -> None:
        """Count an attempt that ended."""
        self._ended.labels(service, kind, ending).inc()
        self._seconds.labels(service, kind).observe(seconds)

    def serve(self, port: int) -> None:
        """Answer /metrics on a port of this process."""
        start_http_server(port, registry=self.registry)
