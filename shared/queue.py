"""Celery: one queue per service, messages that are doorbells, and the worker that answers them.

A message carries a stage's key and, for logs and traces, an experiment that wants it. It may be
lost, doubled or late: the reconciler rings again, and the supervisor does nothing for a stage that
is done or leased.
"""

from __future__ import annotations

import json
import logging
import mmap
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import structlog
from celery import Celery
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)
from kombu import Exchange, Queue
from redis import Redis

from shared.lease import Leases
from shared.logs import configure_logging
from shared.metrics import MeasuredStore, WorkerMetrics
from shared.settings import Settings
from shared.spawner import Spawner, die_with_parent
from shared.store import StoreError, UnfitStoreError
from shared.supervise import Supervisor
from shared.traces import configure_tracing, shut_tracing

log = structlog.get_logger()

SERVICES = ("trainer", "merger", "sae", "analyzer")
TASK = "lineament.stage"
EXPERIMENT = "experiment"  # header of a message
SOCKET_TIMEOUT = 10  # seconds; without it a dead Redis blocks a worker for ever
REDELIVERY = 3600  # seconds until Redis hands an unacknowledged message to another worker

# One byte that the worker's main process and its pool child share: 1 once a shutdown began.
_drain = mmap.mmap(-1, 1)


def connect(settings: Settings) -> Redis:
    """A Redis client that gives up on a silent server."""
    return Redis.from_url(
        settings.redis_url, decode_responses=True, socket_timeout=SOCKET_TIMEOUT, protocol=2
    )


def broker_url(redis_url: str) -> str:
    """Celery's name for a Redis URL: a socket is unix:// there and redis+socket:// here."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def make_app(settings: Settings) -> Celery:
    """The Celery application, configured as measured (design.md)."""
    app = Celery("lineament", broker=broker_url(settings.redis_url))
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_default_queue=SERVICES[0],
        # The nameless exchange delivers by queue name alone. Any other keeps its bindings in Redis
        # and drops messages without a word once those were flushed.
        task_queues=[
            Queue(name, Exchange("", type="direct"), routing_key=name) for name in SERVICES
        ],
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_concurrency=1,
        worker_pool="prefork",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "visibility_timeout": REDELIVERY,
            "unacked_restore_throttle": 1,
            "socket_timeout": SOCKET_TIMEOUT,
            "socket_keepalive": not settings.redis_url.startswith("unix://"),
        },
    )
    return app


app = make_app(Settings())


@lru_cache(1)
def _settings() -> Settings:
    return Settings()


@lru_cache(1)
def _spawner() -> Spawner:
    """It loads the services whose queues are served: an image has no other."""
    return Spawner(list(app.amqp.queues.consume_from), _settings().thread_count())


@lru_cache(1)
def _metrics() -> WorkerMetrics:
    return WorkerMetrics(_settings(), list(app.amqp.queues.consume_from))


@lru_cache(1)
def _supervisor() -> Supervisor:
    settings, metrics = _settings(), _metrics()
    return Supervisor(
        settings,
        MeasuredStore(settings.open_store(), metrics),
        Leases(connect(settings), settings.lease),
        _spawner(),
        metrics,
        draining=lambda: _drain[0] == 1,
    )


@app.task(name=TASK, bind=True)  # type: ignore[untyped-decorator]
def run_stage(task: Any, key: str) -> None:
    """Answer one doorbell."""
    _supervisor().run(key, str((task.request.headers or {}).get(EXPERIMENT, "")))


def ring(celery: Celery, service: str, key: str, experiment: str = "") -> None:
    """Send the doorbell for a stage to its service's queue; `experiment` wants it."""
    celery.send_task(TASK, args=[key], queue=service, task_id=key, headers={EXPERIMENT: experiment})


def queued(redis: Redis, services: Sequence[str] = SERVICES) -> dict[str, list[str]]:
    """The stages whose doorbells wait in each service's queue, the next one first.

    The id of a task is the stage's key; messages are Celery's protocol 2, whose headers name it.
    """
    with redis.pipeline(transaction=False) as pipe:
        for service in services:
            pipe.lrange(service, 0, -1)
        lists = pipe.execute()
    return {
        service: [str(json.loads(message)["headers"].get("id")) for message in reversed(messages)]
        for service, messages in zip(services, lists, strict=True)
    }


@setup_logging.connect  # type: ignore[untyped-decorator]
def _log(**_: Any) -> None:
    """In a worker: the same log as every other process, in place of Celery's own."""
    configure_logging(logging.INFO)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _begin_drain(**_: Any) -> None:
    """In the worker's main process: tell the pool child that its stage should leave."""
    _drain[0] = 1


@worker_init.connect  # type: ignore[untyped-decorator]
def _prove_store(**_: Any) -> None:
    """In the worker's main process, before it takes a message: leave if the store cannot be used.

    One that does not answer now is waited for: every doorbell tries again.
    """
    try:
        _settings().open_store()
    except StoreError as error:
        log.warning("the store does not answer", error=str(error))
    except UnfitStoreError as error:
        log.error("this store cannot be used", error=str(error))
        raise SystemExit(2) from None


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _prepare_pool_process(**_: Any) -> None:
    """In the pool child: never outlive the worker, and load torch while nothing is asked yet.

    /metrics answers before that, so that a worker without work is not taken for dead.
    """
    die_with_parent()
    settings = _settings()
    _metrics().serve(settings)
    configure_tracing("worker", settings.trace_endpoint)
    _spawner().warm_up()


@worker_process_shutdown.connect  # type: ignore[untyped-decorator]
def _send_spans(**_: Any) -> None:
    """In the pool child, when it leaves."""
    shut_tracing()
