"""Whether the process is alive, and whether store and Redis answer. These routes need no key."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import BoundedSemaphore

from anyio import CapacityLimiter, create_task_group, move_on_after, to_thread
from fastapi import APIRouter

from api.backend import BackendDependency
from api.http.problems import PROBLEMS, AwayProblem

PATIENCE = 2.0  # seconds for both answers
OK, SILENT = "ok", "does not answer"

router = APIRouter(tags=["health"], responses=PROBLEMS(400, 403, 500))

# Threads of their own: a probe must not wait behind slow requests. And only so many checks may hang
# at a time: a disk that never answers would hold one more thread after every probe.
_threads = CapacityLimiter(16)
_open = {name: BoundedSemaphore(8) for name in ("store", "redis")}


@router.get("/healthz")
async def alive() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "alive"}


@router.get("/readyz", responses=PROBLEMS(503))
async def ready(backend: BackendDependency) -> dict[str, str]:
    """Answers 200 when store and Redis answer in time, else 503 and which one does not."""
    requests: dict[str, Callable[[], object]] = {
        "store": partial(backend.store.stat, "readyz"),
        "redis": backend.redis.ping,
    }
    checks = dict.fromkeys(requests, SILENT)

    async def check(name: str) -> None:
        checks[name] = await to_thread.run_sync(
            _outcome, requests[name], _open[name], abandon_on_cancel=True, limiter=_threads
        )

    with move_on_after(PATIENCE):
        async with create_task_group() as tasks:
            for name in requests:
                tasks.start_soon(check, name)
    bad = [f"{name}: {outcome}" for name, outcome in checks.items() if outcome != OK]
    if bad:
        raise AwayProblem(detail="\n".join(bad), checks=checks)
    return checks


def _outcome(request: Callable[[], object], room: BoundedSemaphore) -> str:
    """OK, or the kind of error: its text may name machines, and this route needs no key."""
    if not room.acquire(blocking=False):
        return SILENT
    try:
        request()
    except Exception as error:  # whatever it is, it is not ready
        return type(error).__name__
    finally:
        room.release()
    return OK
