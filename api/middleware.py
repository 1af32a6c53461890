"""The layers around the routes, in their order."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_fastapi_instrumentator import Instrumentator
from prometheus_fastapi_instrumentator.metrics import default

from api.http.answers import Answers
from api.http.departures import Departures
from api.http.trail import Trail
from api.security.admission import Admission, TrustedHosts
from shared.settings import Settings
from shared.telemetry.metrics import ProcessMetrics


def add_middleware(app: FastAPI, settings: Settings, metrics: ProcessMetrics) -> None:
    """Add the layers from the inside out. The counters lie outside the admission, so refusals are
    counted too.

    /metrics needs no key: it has counts by route template, method and class of status, nothing
    that a user named or sent. Labels are bounded: unknown paths share one, and unknown methods do
    not get this far.
    """
    app.add_middleware(Departures)
    app.add_middleware(Admission, settings=settings)
    app.add_middleware(TrustedHosts, settings=settings)
    # Streaming is left out of durations: an event stream lasts for hours.
    counters = Instrumentator(registry=metrics.registry, should_exclude_streaming_duration=True)
    counters.add(
        default(
            metric_namespace="lineament",
            registry=metrics.registry,
            should_exclude_streaming_duration=True,
        )
    )
    counters.instrument(app).expose(app, include_in_schema=False)
    app.add_middleware(Trail)
    app.add_middleware(Answers)
