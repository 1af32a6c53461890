"""The reconciler process: looks, decides, rings. Any number of them may run.

It keeps nothing that it could not read again: Redis remembers (for a while) which doorbells were
rung, and forgetting that only rings them once more.
"""

from __future__ import annotations

import signal
import threading

import structlog
from celery import Celery
from redis import Redis
from redis.exceptions import RedisError

from shared.experiments import Experiment, Experiments
from shared.lease import Leases, rung
from shared.queue import connect, make_app, ring
from shared.reconcile import Doorbell, ExperimentState, decide, experiment_state, stage_states
from shared.settings import Settings
from shared.spawner import die_with_parent

RUNG_SECONDS = 10  # a doorbell nobody answered is rung again after this, if its queue is empty

log = structlog.get_logger()


class Reconciler:
    """Brings what runs into line with what was asked for."""

    def __init__(
        self, experiments: Experiments, leases: Leases, redis: Redis, celery: Celery
    ) -> None:
        self._experiments = experiments
        self._leases = leases
        self._redis = redis
        self._celery = celery
        self._known: dict[str, Experiment] = {}
        self._finished: set[str] = set()

    def pass_once(self) -> int:
        """One look at everything; returns how many doorbells it rang."""
        watched = []
        for number in self._experiments.ids():
            if number in self._finished:
                continue
            if number not in self._known:
                self._known[number] = self._experiments.get(number)
            watched.append((number, self._experiments.watched(number, self._known[number])))
        keys = [stage.key for _, one in watched for stage in one.plan.stages]
        world = self._experiments.world(keys, self._leases)
        for number, one in watched:
            if experiment_state(stage_states(one.plan, world)) is ExperimentState.COMPLETE:
                self._finished.add(number)
                del self._known[number]
        decision = decide([one for _, one in watched], world)
        for key in decision.stop:
            self._leases.ask_to_stop(key)
        return sum(self._ring(bell) for bell in decision.ring)

    def _ring(self, bell: Doorbell) -> bool:
        """Ring unless that was done a moment ago, or the message still waits in its queue."""
        if not self._redis.set(rung(bell.key), "1", nx=True, ex=RUNG_SECONDS):
            return False
        repeated = f"lineament:rung-once:{bell.key}"
        first = self._redis.set(repeated, "1", nx=True, ex=86_400)
        if not first and self._redis.llen(bell.service) > 0:
            return False
        ring(self._celery, bell.service, bell.key)
        return True


def main() -> None:
    """Entry point: `python -m shared.reconciler`."""
    die_with_parent()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings()
    redis = connect(settings)
    leases = Leases(redis, settings.lease)
    reconciler = Reconciler(Experiments(settings.open_store()), leases, redis, make_app(settings))
    while not stop.is_set():
        try:
            rang = reconciler.pass_once()
            if rang:
                log.info("rang", doorbells=rang)
            leases.wait_for_bell(settings.poll)
        except (RedisError, OSError) as error:
            log.warning("could not look around", error=str(error))
            stop.wait(settings.poll)


if __name__ == "__main__":
    main()
