"""The worker's Celery application: answers doorbells, one stage at a time.

Entry point: `python -m shared.worker.app --queues=trainer`; further options are those of a Celery
worker. Nothing is read from the environment before `main` runs.
"""

from __future__ import annotations

import importlib
import logging
import mmap
import pkgutil
import sys
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import structlog
from celery import signals

from shared.queue.broker import EXPERIMENT, TASK, connect, make_app
from shared.queue.leases import Leases
from shared.settings import Settings, SettingsError
from shared.spec.registry import RegistryError
from shared.store import StoreError, UnfitStoreError
from shared.telemetry.logs import configure_logging
from shared.telemetry.metrics import MeasuredStore, WorkerMetrics
from shared.telemetry.traces import configure_tracing, shut_tracing
from shared.worker.spawner import Spawner, die_with_parent
from shared.worker.supervisor import Supervisor

BAD_INPUT = 2  # exit code: bad settings, an unfit store, or a service without code for a name
# One pool process, forked by the main process, runs the stages; the main one stays free to handle
# SIGTERM. Workers do not talk to each other: leases show who runs what.
OPTIONS = (
    "--pool=prefork --concurrency=1 --loglevel=WARNING --without-gossip --without-mingle "
    "--without-heartbeat --hostname=lineament@%h"
)

log = structlog.get_logger()


class Worker:
    """A worker process and its pool child, which is a fork of it.

    What only the child needs (metrics, spawner, supervisor) is created there, on first use.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.app = make_app(settings)
        self._register()
        # One byte that the main process and its pool child share: 1 once a shutdown began.
        self._drain = mmap.mmap(-1, 1)
        # Celery holds its receivers weakly, and so not at all when they are bound methods.
        signals.setup_logging.connect(self._log, weak=False)
        signals.worker_init.connect(self._prove_store, weak=False)
        signals.worker_shutting_down.connect(self._begin_drain, weak=False)
        signals.worker_process_init.connect(self._prepare_pool_process, weak=False)
        signals.worker_process_shutdown.connect(self._send_spans, weak=False)

    def run(self, options: Sequence[str]) -> None:
        """Serve until a signal stops the worker; `options` are those of a Celery worker."""
        self.app.start(["--quiet", "worker", *OPTIONS.split(), *options])

    def _register(self) -> None:
        """Say what a message does. A task is a function: Celery binds it to itself."""

        @self.app.task(name=TASK, bind=True)  # type: ignore[untyped-decorator]
        def run_stage(task: Any, key: str) -> None:
            self._supervisor.run(key, str((task.request.headers or {}).get(EXPERIMENT, "")))

    @cached_property
    def _queues(self) -> list[str]:
        """The services whose queues are served; a container image has no others."""
        return list(self.app.amqp.queues.consume_from)

    @cached_property
    def _spawner(self) -> Spawner:
        return Spawner(self._queues, self._settings.thread_count())

    @cached_property
    def _metrics(self) -> WorkerMetrics:
        return WorkerMetrics(self._settings, self._queues)

    @cached_property
    def _supervisor(self) -> Supervisor:
        return Supervisor(
            self._settings,
            MeasuredStore(self._settings.open_store(), self._metrics),
            Leases(connect(self._settings), self._settings.lease),
            self._spawner,
            self._metrics,
            draining=lambda: self._drain[0] == 1,
        )

    def _log(self, **_: Any) -> None:
        """Log as every other process does, in place of Celery's own logging."""
        configure_logging(logging.INFO)

    def _begin_drain(self, **_: Any) -> None:
        """In the main process: tell the pool child that its stage must leave."""
        self._drain[0] = 1

    def _prove_store(self, **_: Any) -> None:
        """In the main process, before it takes a message: exit if the store is unfit.

        A store that merely does not answer yet is tried again at every doorbell.
        """
        try:
            self._settings.open_store()
        except StoreError as error:
            log.warning("the store does not answer", error=str(error))
        except UnfitStoreError as error:
            log.error("this store cannot be used", error=str(error))
            raise SystemExit(BAD_INPUT) from None

    def _prepare_pool_process(self, **_: Any) -> None:
        """In the pool child: never outlive the worker, and load torch before the first doorbell.

        /metrics answers before that, so that a worker without work is not taken for dead.
        """
        die_with_parent()
        self._metrics.serve(self._settings)
        configure_tracing("worker", self._settings.trace_endpoint)
        self._spawner.warm_up()

    def _send_spans(self, **_: Any) -> None:
        """In the pool child, when it ends."""
        shut_tracing()


def check_services(package: str = "services") -> None:
    """Import what each service that is installed here says of itself, which loads no torch.

    Raises RegistryError where a spec may use a name that the service has no code for.
    """
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def main() -> None:
    """Entry point: serve the queues that the command line names."""
    try:
        check_services()
        settings = Settings()
    except (RegistryError, SettingsError) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(BAD_INPUT) from None
    Worker(settings).run(sys.argv[1:])


if __name__ == "__main__":
    main()
