"""Celery over Redis: one queue per service, and messages that are doorbells.

A message carries a stage's key and, for logs and traces, an experiment that wants it. It may be
lost, doubled or late: the reconciler rings again, and the supervisor does nothing for a stage that
is done or leased.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from celery import Celery
from kombu import Exchange, Queue
from redis import Redis

from shared.settings import Settings
from shared.stages.kinds import SERVICES

TASK = "lineament.stage"
EXPERIMENT = "experiment"  # header of a message
SOCKET_TIMEOUT = 10  # seconds; without it a dead Redis blocks a worker for ever
REDELIVERY = 3600  # seconds until Redis hands an unacknowledged message to another worker


def connect(settings: Settings) -> Redis:
    """A Redis client that gives up on a silent server."""
    return Redis.from_url(
        settings.redis_url, decode_responses=True, socket_timeout=SOCKET_TIMEOUT, protocol=2
    )


def broker_url(redis_url: str) -> str:
    """A Redis URL in Celery's form: redis-py's unix:// for a socket becomes redis+socket://."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def make_app(settings: Settings) -> Celery:
    """The Celery application, with the settings that were measured to matter."""
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


def ring(celery: Celery, service: str, key: str, experiment: str = "") -> None:
    """Send the doorbell for a stage to its service's queue; `experiment` is one that wants it."""
    celery.send_task(TASK, args=[key], queue=service, task_id=key, headers={EXPERIMENT: experiment})


def queued(redis: Redis, services: Sequence[str] = SERVICES) -> dict[str, list[str]]:
    """Keys of the stages whose doorbells wait in each service's queue, next in line first.

    A task's id is the stage's key; it stands in the headers of a message (Celery's protocol 2).
    """
    with redis.pipeline(transaction=False) as pipe:
        for service in services:
            pipe.lrange(service, 0, -1)
        lists = pipe.execute()
    return {
        service: [str(json.loads(message)["headers"].get("id")) for message in reversed(messages)]
        for service, messages in zip(services, lists, strict=True)
    }
