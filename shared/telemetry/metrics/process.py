"""Metrics of every process: its version, its disk, its use of the store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.settings import Settings

# Buckets from an answer of a local directory to a large file over a slow network.
REQUEST_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)


def _version() -> str:
    try:
        return version("lineament")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "unknown"


class ProcessMetrics:
    """A registry with the metrics that all processes have; `data` is the directory they work in."""

    def __init__(self, role: str, data: Path | None = None) -> None:
        # `_created` series double the number of series, and nobody needs them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Gauge(
            "lineament_build_info",
            "1 in every process of an installation.",
            ("version", "role"),
            registry=self.registry,
        )
        build.labels(_version(), role).set(1)
        if data is not None:
            self.registry.register(DiskCollector(data))
        self.store_requests = Counter(
            "lineament_store_requests_total",
            "Requests to the object store.",
            ("verb", "outcome"),
            registry=self.registry,
        )
        self.store_seconds = Histogram(
            "lineament_store_request_seconds",
            "How long requests to the object store took.",
            ("verb",),
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self.store_bytes = Counter(
            "lineament_store_transferred_bytes_total",
            "Bytes read from and written to the object store.",
            ("direction",),
            registry=self.registry,
        )

    def serve(self, settings: Settings) -> None:
        """Serve /metrics on the configured port of this process, if there is one."""
        if settings.metrics_port:
            start_http_server(
                settings.metrics_port, addr=settings.metrics_host, registry=self.registry
            )


class DiskCollector(Collector):
    """Size and free space of a directory's file system, looked up at every scrape."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        """The two gauges; without samples while the directory does not exist."""
        size = GaugeMetricFamily(
            "lineament_disk_size_bytes", "Size of the file system of the data directory."
        )
        free = GaugeMetricFamily("lineament_disk_free_bytes", "What is free on it.")
        try:
            usage = shutil.disk_usage(self._directory)
        except OSError:
            pass
        else:
            size.add_metric((), usage.total)
            free.add_metric((), usage.free)
        yield size
        yield free
