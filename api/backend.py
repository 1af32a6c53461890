"""What every route needs: store, queue side and the verbs on them, opened once per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request
from redis import Redis

from api.lineage.matches import Edges
from api.lineage.stage_files import StageFiles
from shared.artifacts import Artifacts
from shared.attempts import AttemptBook
from shared.experiments import Experiments
from shared.lease import Leases
from shared.metrics import MeasuredStore, ProcessMetrics
from shared.queue import connect
from shared.settings import Settings
from shared.store import Store
from shared.upload_store import UploadStore


@dataclass(frozen=True)
class Backend:
    """The open ends of one API process."""

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
    """Open store and Redis as configured; what is asked of the store is counted."""
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
