"""The reconciler process: looks, decides, rings. Any number of them may run.

It keeps nothing that it could not read again: Redis remembers (for a while) which doorbells were
rung, and forgetting that only rings them once more. Whoever changes something rings the bell with a
hint: "stage:KEY" (it started or ended), "missing:KEY" (an input that is gone), "undescribed:KEY"
(the stage's description is missing; an experiment's plan has it), "experiments" (one was submitted,
cancelled or taken up again). A lost hint costs the time until the next sweep.
"""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Sequence

import structlog
from celery import Celery
from kombu.exceptions import KombuError
from redis import Redis
from redis.exceptions import RedisError

from shared.experiments.decide import Doorbell, Watched, decide
from shared.experiments.experiments import Card, Experiments, Listed
from shared.experiments.states import World
from shared.queue.broker import connect, make_app, queued, ring
from shared.queue.leases import Leases, rung
from shared.records.releases import OtherReleaseError
from shared.settings import Settings
from shared.stages.kinds import SERVICES
from shared.store import NotFoundError, Store, StoreError, UnfitStoreError
from shared.telemetry.logs import configure_logging
from shared.telemetry.metrics import MeasuredStore, ReconcilerMetrics
from shared.telemetry.metrics.reconciler import keep_measuring

RUNG_SECONDS = 10  # a doorbell that is neither queued nor answered is rung again after this
UNFIT = 2  # exit code when the store does not keep conditional creates
ROOM = 16  # messages in a queue; other ready stages wait outside, so that fairness can choose
DUTY = 10  # sweeps over everything take at most one part in this many of the time

log = structlog.get_logger()


class Reconciler:
    """Brings what runs into line with what the experiments need."""

    def __init__(
        self,
        store: Store,
        leases: Leases,
        redis: Redis,
        celery: Celery,
        poll: float,
        metrics: ReconcilerMetrics | None = None,
    ) -> None:
        # A stage that had not ended is looked up again after a hint or by a sweep, not before.
        self._experiments = Experiments(store, fresh=math.inf)
        self._leases = leases
        self._redis = redis
        self._celery = celery
        self._poll = poll
        self._metrics = metrics or ReconcilerMetrics()
        self._listed: list[Listed] = []
        self._complete: set[Listed] = set()
        self._unreadable: set[Listed] = set()
        self._next_sweep = 0.0

    def pass_once(self, hints: Sequence[str] = ()) -> int:
        """Look once at what may have changed; returns how many doorbells were rung."""
        began = time.monotonic()
        sweeping = began >= self._next_sweep
        self._heed(hints, sweeping)
        settled = self._complete | self._unreadable
        watched = [listed for listed in self._listed if listed not in settled]
        cards = self._cards(watched)
        outlines = [card.outline for card in cards.values()]
        # In this order: a stage whose message is taken while we look is still seen in the queue, or
        # as rung, or as leased, whatever happens in between.
        waiting = queued(self._redis)
        recent = self._leases.recently_rung(self._experiments.front(outlines))
        world = self._experiments.world(outlines, self._leases)
        self._describe(cards, hints)
        self._drop_complete(cards, world)
        rang = self._carry_out(cards, world, waiting, recent)
        if sweeping:
            ended = time.monotonic()
            self._next_sweep = ended + max(self._poll, DUTY * (ended - began))
            self._count_experiments()
        self._metrics.looked(time.monotonic() - began)
        return rang

    def wait(self) -> list[str]:
        """Sleep until the bell rings, at most `poll` seconds; returns the hints."""
        return self._leases.wait_for_bell(self._poll)

    def _count_experiments(self) -> None:
        going = set(self._listed) - self._complete - self._unreadable
        cancelled = sum(listed.cancelled for listed in going)
        self._metrics.experiments(
            open=len(going) - cancelled,
            cancelled=cancelled,
            complete=len(self._complete),
            unreadable=len(self._unreadable),
        )

    def _heed(self, hints: Sequence[str], sweeping: bool) -> None:
        keys_by_subject: dict[str, list[str]] = {}
        for hint in hints:
            subject, _, key = hint.partition(":")
            keys_by_subject.setdefault(subject, []).append(key)
        survey = self._experiments.survey
        survey.hint(keys_by_subject.get("stage", ()))
        survey.forget(keys_by_subject.get("missing", ()))
        if "missing" in keys_by_subject:
            self._complete.clear()
        if sweeping:
            survey.hint_all()
        if sweeping or "experiments" in keys_by_subject:
            self._listed = self._experiments.listed()
            self._complete.intersection_update(self._listed)
            self._unreadable.intersection_update(self._listed)

    def _cards(self, watched: Sequence[Listed]) -> dict[Listed, Card]:
        cards = {}
        for listed in watched:
            try:
                cards[listed] = self._experiments.card(listed.id, listed.modified)
            except NotFoundError:  # deleted since it was listed
                continue
            except OtherReleaseError as error:  # a reconciler of that release looks after it
                self._unreadable.add(listed)
                log.warning("experiment skipped", experiment=listed.id, reason=str(error))
        return cards

    def _drop_complete(self, cards: dict[Listed, Card], world: World) -> None:
        for listed, card in list(cards.items()):
            if all(key in world.done for key in card.outline.last):
                self._complete.add(listed)
                del cards[listed]

    def _describe(self, cards: dict[Listed, Card], hints: Sequence[str]) -> None:
        """Store the missing descriptions of stages again. Garbage collection may delete a stage's
        description at the very moment when the stage is submitted again.
        """
        keys = {hint.partition(":")[2] for hint in hints if hint.startswith("undescribed:")}
        for listed, card in cards.items():
            if keys & card.outline.keys:
                self._experiments.describe(listed.id)
                keys -= card.outline.keys

    def _carry_out(
        self,
        cards: dict[Listed, Card],
        world: World,
        waiting: dict[str, list[str]],
        recent: set[str],
    ) -> int:
        watched = [
            Watched(card.outline, listed.cancelled, card.owner) for listed, card in cards.items()
        ]
        decision = decide(watched, world, waiting, recent, ROOM)
        self._metrics.queues(decision.waiting, decision.leased, world.done)
        for key in decision.stop:
            self._leases.ask_to_stop(key)
        # Not for a service that only a newer release has: nobody would ever empty its queue.
        bells = [bell for bell in decision.ring if bell.service in SERVICES]
        return sum(self._ring(bell, cards) for bell in bells)

    def _ring(self, bell: Doorbell, cards: dict[Listed, Card]) -> bool:
        """Ring a doorbell, unless another reconciler did so a moment ago."""
        if not self._redis.set(rung(bell.key), "1", nx=True, ex=RUNG_SECONDS):
            return False
        wanting = (card.id for card in cards.values() if bell.key in card.outline.keys)
        ring(self._celery, bell.service, bell.key, next(wanting, ""))
        self._metrics.rang(bell.service)
        return True


def main() -> None:
    """Entry point: `python -m shared.experiments.reconciler`."""
    configure_logging(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    settings = Settings()
    metrics = ReconcilerMetrics(SERVICES, settings.data)
    metrics.serve(settings)
    reconciler: Reconciler | None = None
    hints: list[str] = []
    while not stop.is_set():
        try:
            if reconciler is None:
                reconciler = open_reconciler(settings, metrics, stop)
            rang = reconciler.pass_once(hints)
            if rang:
                log.info("rang", doorbells=rang)
            hints = reconciler.wait()
        except (RedisError, KombuError, StoreError) as error:
            log.warning("could not look around", error=str(error))
            metrics.hindered()
            stop.wait(settings.poll)
        except UnfitStoreError as error:
            log.error("this store cannot be used", error=str(error))
            raise SystemExit(UNFIT) from None


def open_reconciler(
    settings: Settings, metrics: ReconcilerMetrics, stop: threading.Event
) -> Reconciler:
    """A reconciler on the configured store and Redis; StoreError when the store does not answer.

    A thread measures what the store holds until `stop` is set.
    """
    redis = connect(settings)
    leases = Leases(redis, settings.lease)
    store = MeasuredStore(settings.open_store(), metrics)
    threading.Thread(target=keep_measuring, args=(store, metrics, stop), daemon=True).start()
    return Reconciler(store, leases, redis, make_app(settings), settings.poll, metrics)


if __name__ == "__main__":
    main()
