"""Metrics of a worker: the stage that runs now, and how attempts ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.records.releases import CAUSES as DECLINED
from shared.settings import Settings
from shared.telemetry.metrics.process import ProcessMetrics
from shared.telemetry.metrics.scalars import ScalarGauges

STAGE_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200)
LABELS = ("service", "kind")
CAUSES = ("not_finite", "out_of_memory", "refused", "attempts")


@dataclass
class Now:
    """The stage that runs now and the times of its last events (monotonic clock, seconds)."""

    service: str
    kind: str
    spoke: float = field(default_factory=time.monotonic)
    saved: float = field(default_factory=time.monotonic)
    checkpoints: bool = False  # whether it writes any
    renewed: Callable[[], float] | None = None


class WorkerMetrics(ProcessMetrics):
    """Counts what a supervisor does and shows the current values of the stage that runs.

    A worker runs one stage at a time, so there is never more than one "running stage".
    """

    def __init__(self, settings: Settings | None = None, services: Sequence[str] = ()) -> None:
        super().__init__("worker", settings.data if settings else None)
        self._services = tuple(services)
        self._now: Now | None = None
        self._cause: str | None = None
        self._add_counts()
        self._add_gauges()
        self._scalars = ScalarGauges(self.registry)
        self.registry.register(AgeCollector(lambda: self._now))
        if settings is not None:
            self._show_limits(settings)
        self._show_busy(0)

    def _add_counts(self) -> None:
        self._ended = self._counter(
            "lineament_attempts_total", "Attempts that ended, by ending.", "ending"
        )
        self._failures = self._counter(
            "lineament_stage_failures_total", "Stages that failed for good, by cause.", "cause"
        )
        self._resumes = self._counter(
            "lineament_resumes_total", "Attempts that went on from a checkpoint."
        )
        self._expired = self._counter(
            "lineament_leases_expired_total",
            "Attempts taken over from a worker that was killed or lost.",
        )
        self._checkpoints = self._counter(
            "lineament_checkpoints_total", "Checkpoints that the store took."
        )
        self._declined = Counter(
            "lineament_stages_declined_total",
            "Doorbells of stages that another release planned or has to compute.",
            ("cause",),
            registry=self.registry,
        )
        for cause in DECLINED:
            self._declined.labels(cause)
        self._seconds = Histogram(
            "lineament_stage_seconds",
            "Wall time of an attempt.",
            LABELS,
            buckets=STAGE_SECONDS,
            registry=self.registry,
        )

    def _add_gauges(self) -> None:
        self._busy = Gauge(
            "lineament_worker_busy",
            "1 while the worker runs a stage, for each queue that it serves.",
            ("service",),
            registry=self.registry,
        )
        self._running = self._gauge("lineament_stages_running", "Stages running now.")
        self._progress = self._gauge(
            "lineament_stage_progress_ratio", "Share of the running stage that is done."
        )
        self._number = self._gauge(
            "lineament_stage_attempt_number", "Which attempt at its stage the running one is."
        )

    def _counter(self, name: str, text: str, *more: str) -> Counter:
        return Counter(name, text, (*LABELS, *more), registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, LABELS, registry=self.registry)

    def _show_limits(self, settings: Settings) -> None:
        """Export the settings that alerts compare ages with, so that no rule repeats them."""
        for name, text, value in (
            ("lineament_lease_seconds", "The setting LINEAMENT_LEASE.", settings.lease),
            ("lineament_stage_stall_seconds", "The setting LINEAMENT_STALL.", settings.stall),
            (
                "lineament_checkpoint_interval_seconds",
                "The setting LINEAMENT_CHECKPOINT.",
                settings.checkpoint,
            ),
        ):
            Gauge(name, text, registry=self.registry).set(value)

    def _show_busy(self, value: int) -> None:
        for service in self._services:
            self._busy.labels(service).set(value)

    @contextmanager
    def running(self, service: str, kind: str) -> Iterator[None]:
        """Count a stage as running; its gauges are removed when it ends."""
        self._cause = None
        self._now = Now(service, kind)
        self._begin_at_zero(service, kind)
        self._running.labels(service, kind).inc()
        self._show_busy(1)
        try:
            yield
        finally:
            self._now = None
            self._show_busy(0)
            for gauge in (self._running, self._progress, self._number):
                gauge.clear()
            self._scalars.clear()

    def _begin_at_zero(self, service: str, kind: str) -> None:
        """Export counters at 0: a rate does not see a series that begins at 1."""
        for counter in (self._resumes, self._expired, self._checkpoints):
            counter.labels(service, kind)
        for cause in CAUSES:
            self._failures.labels(service, kind, cause)

    def taken_up(self, service: str, kind: str, number: int, expired: bool) -> None:
        """Show which attempt this is; count the previous one's lease if it expired."""
        self._number.labels(service, kind).set(number)
        if expired:
            self._expired.labels(service, kind).inc()

    def resumed(self, service: str, kind: str) -> None:
        """Count an attempt that resumes from a checkpoint."""
        self._resumes.labels(service, kind).inc()

    def watch_lease(self, renewed: Callable[[], float]) -> None:
        """Show the age of the lease; `renewed` returns when (monotonic) it was last renewed."""
        if self._now is not None:
            self._now.renewed = renewed

    def spoke(self) -> None:
        """Note that the stage has just written an event."""
        if self._now is not None:
            self._now.spoke = time.monotonic()

    def progress(self, service: str, kind: str, event: dict[str, Any]) -> None:
        """Show a progress event."""
        if event["total"]:
            self._progress.labels(service, kind).set(event["done"] / event["total"])
        for name, value in event.items():
            if isinstance(value, int | float):
                self._scalars.show(service, kind, name, value)

    def checkpoint_written(self) -> None:
        """Note that the stage writes checkpoints."""
        if self._now is not None:
            self._now.checkpoints = True

    def checkpoint_saved(self, service: str, kind: str) -> None:
        """Count a checkpoint that the store took."""
        self._checkpoints.labels(service, kind).inc()
        if self._now is not None:
            self._now.saved = time.monotonic()

    def refused(self, cause: str) -> None:
        """Note the cause that the stage gives for being unable to succeed, for `ended`."""
        self._cause = cause

    def declined(self, cause: str) -> None:
        """Count a doorbell that was left to a worker of another release."""
        self._declined.labels(cause).inc()

    def ended(self, service: str, kind: str, ending: str, seconds: float) -> None:
        """Count an attempt that ended."""
        self._ended.labels(service, kind, ending).inc()
        self._seconds.labels(service, kind).observe(seconds)
        if ending == "failed":
            self._failures.labels(service, kind, self._cause or "attempts").inc()


class AgeCollector(Collector):
    """Ages of the running stage's last events, computed at every scrape."""

    def __init__(self, now: Callable[[], Now | None]) -> None:
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Three gauges; without samples while no stage runs."""
        silence = GaugeMetricFamily(
            "lineament_stage_silence_seconds",
            "Since the running stage last said something.",
            labels=LABELS,
        )
        checkpoint = GaugeMetricFamily(
            "lineament_checkpoint_age_seconds",
            "Since the store took the running stage's last checkpoint, or since its start.",
            labels=LABELS,
        )
        lease = GaugeMetricFamily(
            "lineament_lease_renewal_age_seconds",
            "Since the running stage's lease was last renewed.",
            labels=LABELS,
        )
        running, moment = self._now(), time.monotonic()
        if running is not None:
            labels = (running.service, running.kind)
            silence.add_metric(labels, moment - running.spoke)
            if running.checkpoints:
                checkpoint.add_metric(labels, moment - running.saved)
            if running.renewed is not None:
                lease.add_metric(labels, max(0.0, moment - running.renewed()))
        yield from (silence, checkpoint, lease)
