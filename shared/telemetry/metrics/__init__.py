"""Prometheus metrics: what each process counts and shows. observability/METRICS.md lists them.

No label has values without a bound, and none carries what a user named or sent.
"""

from shared.telemetry.metrics.process import ProcessMetrics
from shared.telemetry.metrics.reconciler import ReconcilerMetrics
from shared.telemetry.metrics.store import MeasuredStore
from shared.telemetry.metrics.worker import WorkerMetrics

__all__ = ["MeasuredStore", "ProcessMetrics", "ReconcilerMetrics", "WorkerMetrics"]
