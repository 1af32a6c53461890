"""Is the process alive, and do store and Redis answer."""

from __future__ import annotations

from fastapi import APIRouter, Response
from redis.exceptions import RedisError

from api.backend import BackendDependency

router = APIRouter(tags=["health"])


@router.get("/healthz")
def alive() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(backend: BackendDependency, response: Response) -> dict[str, str]:
    """Answers 200 when store and Redis answer, 503 when one does not."""
    checks = {"store": "ok", "redis": "ok"}
    try:
        backend.redis.ping()
    except (RedisError, OSError) as error:
        checks["redis"] = type(error).__name__
    try:
        backend.store.stat("readyz")
    except OSError as error:
        checks["store"] = type(error).__name__
    if set(checks.values()) != {"ok"}:
        response.status_code = 503
    return checks
