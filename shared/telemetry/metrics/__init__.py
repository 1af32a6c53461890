"""The Prometheus metrics of each process; observability/METRICS.md lists them.

Every label has a bounded set of values, and none carries a name or a text of a user.
"""

from shared.telemetry.metrics.process import ProcessMetrics
from shared.telemetry.metrics.reconciler import ReconcilerMetrics
from shared.telemetry.metrics.store import MeasuredStore
from shared.telemetry.metrics.worker import WorkerMetrics

__all__ = ["MeasuredStore", "ProcessMetrics", "ReconcilerMetrics", "WorkerMetrics"]
