"""Builds the FastAPI application: its routes, middleware and error handlers."""

from __future__ import annotations

from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles

from api.backend import open_backend
from api.experiments.follow import StageEvent
from api.http.openapi import DESCRIPTION, TAGS, document, operation_id
from api.http.problems import PROBLEMS, add_problem_handlers
from api.middleware import add_middleware
from api.pages import views
from api.routes import (
    artifacts,
    corpora,
    crosscoders,
    edges,
    events,
    experiments,
    explanations,
    features,
    health,
    models,
    results,
    stability,
    stages,
    sweeps,
)
from api.security.auth import needs_by_method
from shared.resolve.resolved import ResolvedSpec
from shared.settings import Settings
from shared.spec import Spec
from shared.telemetry.metrics import ProcessMetrics

STATIC = Path(__file__).parent / "pages" / "static"
ANYWHERE = PROBLEMS(400, 401, 403, 404, 409, 422, 429, 500, 503)  # what every route may answer


def create_app(settings: Settings) -> FastAPI:
    """The application over the configured store and Redis."""
    app = FastAPI(
        title="Lineament",
        version="0.1.0",
        summary="Follow the features inside language models through fine-tuning and merging.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        generate_unique_id_function=operation_id,
        redirect_slashes=False,  # a redirect would be an answer that no operation documents
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    metrics = ProcessMetrics("api", settings.data)
    app.state.backend = open_backend(settings, metrics)
    add_problem_handlers(app)
    _include_routes(app)
    document(app, (Spec, "validation"), (ResolvedSpec, "validation"), (StageEvent, "serialization"))
    add_middleware(app, settings, metrics)
    return app


def _include_routes(app: FastAPI) -> None:
    """Mount every router. All but health require a scope; a route may require a higher one."""
    scoped = [Depends(needs_by_method)]
    findings = (models, sweeps, edges, features, explanations, stability, crosscoders, results)
    for routes in (experiments, stages, events, *findings, corpora, artifacts):
        app.include_router(routes.router, dependencies=scoped, responses=ANYWHERE)
    app.include_router(views.router, dependencies=scoped)
    app.include_router(health.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
