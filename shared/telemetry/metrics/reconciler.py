"""Metrics of the reconciler: the stages that wait for workers, for how long, and its own health."""

from __future__ import annotations

import threading
import time
from collections import Counter as Tally
from collections.abc import Collection, Mapping
from pathlib import Path

import structlog
from prometheus_client import Counter, Gauge, Histogram

from shared.store import Store, StoreError
from shared.telemetry.metrics.process import ProcessMetrics

WAIT_SECONDS = (0.1, 0.5, 2, 10, 30, 60, 300, 900, 3600, 14400, 43200)
PASS_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)
AREAS = ("stages", "experiments", "uploads")
HELD_EVERY = 300.0  # seconds between two measurements of what the store holds, at least
HELD_DUTY = 50  # measurements take at most one part in this many of the time

log = structlog.get_logger()


class ReconcilerMetrics(ProcessMetrics):
    """Shows the result of the last pass; a stage's wait begins when this process first sees it."""

    def __init__(self, services: Collection[str] = (), data: Path | None = None) -> None:
        super().__init__("reconciler", data)
        self._services = services
        self._since: dict[str, tuple[str, float]] = {}  # key: service, first seen (monotonic)
        self._depth = self._gauge(
            "lineament_queue_depth", "Stages that wait for a worker.", "service"
        )
        self._oldest = self._gauge(
            "lineament_queue_oldest_seconds", "How long the oldest of them has waited.", "service"
        )
        self._leased = self._gauge(
            "lineament_stages_leased", "Stages that a worker holds the lease of.", "service"
        )
        self._experiments = self._gauge("lineament_experiments", "Experiments by state.", "state")
        self._last = self._gauge(
            "lineament_reconciler_last_pass_timestamp_seconds", "When a pass last succeeded."
        )
        self.held_bytes = self._gauge(
            "lineament_store_held_bytes", "What lies in the store.", "area"
        )
        self.held_objects = self._gauge(
            "lineament_store_held_objects", "How many objects lie in the store.", "area"
        )
        self._add_counts()
        for service in services:
            self._doorbells.labels(service)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _add_counts(self) -> None:
        self._wait = Histogram(
            "lineament_queue_wait_seconds",
            "How long a stage had waited when a worker took it.",
            ("service",),
            buckets=WAIT_SECONDS,
            registry=self.registry,
        )
        self._doorbells = Counter(
            "lineament_doorbells_total",
            "Messages sent to workers.",
            ("service",),
            registry=self.registry,
        )
        self._errors = Counter(
            "lineament_reconciler_errors_total",
            "Passes that failed because the store or Redis did.",
            registry=self.registry,
        )
        self._pass = Histogram(
            "lineament_reconciler_pass_seconds",
            "Duration of a pass.",
            buckets=PASS_SECONDS,
            registry=self.registry,
        )

    def queues(
        self, waiting: Mapping[str, str], leased: Mapping[str, str], done: Collection[str]
    ) -> None:
        """Show the stages that wait and those that run, both as services by key.

        A stage that a worker took since the last pass is counted with the time it waited. `done`
        shows those that also ended in between.
        """
        moment = time.monotonic()
        for key in [key for key in self._since if key not in waiting]:
            service, since = self._since.pop(key)
            if key in leased or key in done:
                self._wait.labels(service).observe(moment - since)
        oldest: dict[str, float] = {}
        for key, service in waiting.items():
            since = self._since.setdefault(key, (service, moment))[1]
            oldest[service] = max(oldest.get(service, 0.0), moment - since)
        depth, running = Tally(waiting.values()), Tally(leased.values())
        for service in {*self._services, *depth, *running}:
            self._depth.labels(service).set(depth[service])
            self._leased.labels(service).set(running[service])
            self._oldest.labels(service).set(oldest.get(service, 0.0))

    def experiments(self, **states: int) -> None:
        """Show how many experiments there are, by state."""
        for state, count in states.items():
            self._experiments.labels(state).set(count)

    def rang(self, service: str) -> None:
        """Count a doorbell."""
        self._doorbells.labels(service).inc()

    def looked(self, seconds: float) -> None:
        """Count a pass that succeeded, and the seconds it took."""
        self._pass.observe(seconds)
        self._last.set_to_current_time()

    def hindered(self) -> None:
        """Count a pass that failed."""
        self._errors.inc()


def measure_held(store: Store, metrics: ReconcilerMetrics) -> None:
    """List the store and show how much it holds; StoreError when it does not answer."""
    for area in AREAS:
        objects = size = 0
        for info in store.list(f"{area}/"):
            objects += 1
            size += info.bytes
        metrics.held_bytes.labels(area).set(size)
        metrics.held_objects.labels(area).set(objects)


def keep_measuring(store: Store, metrics: ReconcilerMetrics, stop: threading.Event) -> None:
    """Measure what the store holds at intervals until `stop` is set; runs in its own thread."""
    while True:
        began = time.monotonic()
        try:
            measure_held(store, metrics)
        except StoreError as error:
            log.warning("could not measure the store", error=str(error))
        if stop.wait(max(HELD_EVERY, HELD_DUTY * (time.monotonic() - began))):
            return
