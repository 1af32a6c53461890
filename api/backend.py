"""What every route needs: the store, Redis and the services on them, opened once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from redis import Redis

from api.stored.files import StageFiles
from api.stored.matches import Edges
from shared.experiments.experiments import Experiments
from shared.queue.broker import connect
from shared.queue.leases import Leases
from shared.records.artifacts import Artifacts
from shared.records.attempts import AttemptBook
from shared.records.uploads import UploadStore
from shared.settings import Settings
from shared.store import Store
from shared.telemetry.metrics import MeasuredStore, ProcessMetrics


@dataclass(frozen=True)
class Backend:
    """The connections of one API process, and the services on them."""

    settings: Settings
    store: Store
    redis: Redis
    leases: Leases
    artifacts: Artifacts
    book: AttemptBook
    experiments: Experiments
    uploads: UploadStore
    files: StageFiles
    edges: Edges


def open_backend(settings: Settings, metrics: ProcessMetrics | None = None) -> Backend:
    """Open the configured store and Redis; requests to the store are counted in `metrics`."""
    store = MeasuredStore(settings.open_store(), metrics or ProcessMetrics("api"))
    redis = connect(settings)
    return Backend(
        settings=settings,
        store=store,
        redis=redis,
        leases=Leases(redis, settings.lease),
        artifacts=Artifacts(store),
        book=AttemptBook(store),
        experiments=Experiments(store),
        uploads=UploadStore(store),
        files=StageFiles(store),
        edges=Edges(store),
    )


def _backend(request: Request) -> Backend:
    return cast(Backend, request.app.state.backend)


BackendDependency = Annotated[Backend, Depends(_backend)]
