"""The layers around the routes, in their order."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator

from api.http.answers import Answers
from api.http.departures import Departures
from api.security.admission import Admission, TrustedHosts
from shared.settings import Settings


def add_middleware(app: FastAPI, settings: Settings) -> None:
    """From the inside out. The counters lie outside of the admission: refusals are counted too.

    /metrics needs no key: it has counts by route template, method and class of status, nothing
    that a user named or sent. Labels have a bound: unknown paths share one, unknown methods do not
    get as far as here.
    """
    app.add_middleware(Departures)
    app.add_middleware(Admission, settings=settings)
    app.add_middleware(TrustedHosts, settings=settings)
    counters = Instrumentator(registry=CollectorRegistry()).instrument(app)
    counters.expose(app, include_in_schema=False)
    app.add_middleware(Answers)
