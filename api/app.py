"""The FastAPI application, put together."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator

from api.backend import open_backend
from api.pages import views
from api.problems import add_problem_handlers
from api.routes import artifacts, corpora, experiments, health
from shared.settings import Settings

STATIC = Path(__file__).parent / "pages" / "static"


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application over the configured store and Redis."""
    app = FastAPI(
        title="Lineament",
        version="0.1.0",
        summary="Follow the features inside language models through fine-tuning and merging.",
    )
    app.state.backend = open_backend(settings or Settings())
    add_problem_handlers(app)
    for routes in (experiments, corpora, artifacts, health):
        app.include_router(routes.router)
    app.include_router(views.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    Instrumentator(registry=CollectorRegistry()).instrument(app).expose(app, tags=["health"])
    return app
