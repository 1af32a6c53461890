"""Decide which stages a worker may compute: those that mean to it what they meant to the planner.

While an installation is upgraded, workers of two releases share the queues. A stage of the other
release is left to the other workers: computed here, its result would be stored under a key that
stands for something else. That is neither an attempt nor a failure: no lease is taken, and the
stage's doorbell is rung again a moment later.
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Mapping

import structlog
from pydantic import ValidationError

from shared.plan import PlannedStage
from shared.queue.leases import Leases
from shared.records.attempts import Attempt, AttemptBook, now
from shared.records.releases import OtherReleaseError, read_record
from shared.stages.kinds import KINDS
from shared.store import StoreError
from shared.telemetry.metrics import WorkerMetrics

# Seconds until its doorbell is rung again. They do not grow: which worker takes a message is
# chance, and one of the right release may be idle.
PAUSE = 3.0
OTHER = "this worker is of another release"
NOTED = 10_000  # stages that were written about; beyond them it begins again

log = structlog.get_logger()


def read_stage(data: bytes, versions: Mapping[str, int]) -> PlannedStage:
    """A stage as it was planned; OtherReleaseError when this release computes none like it."""
    stage = read_record(PlannedStage, data, "the planned stage")
    own = versions.get(stage.kind)
    if own is None:
        raise OtherReleaseError(f"{OTHER}: it knows no stages of kind {stage.kind}", "kind")
    if stage.version != own:
        sentence = f"it computes {stage.kind} in version {own}, version {stage.version} is planned"
        raise OtherReleaseError(f"{OTHER}: {sentence}", "version")
    try:
        if stage.kind in KINDS:
            KINDS[stage.kind].parameters.model_validate(stage.parameters)
    except ValidationError as error:
        sentence = f"it does not understand the parameters of this {stage.kind} stage"
        raise OtherReleaseError(f"{OTHER}: {sentence}", "parameters") from error
    return stage


class Decliner:
    """Leaves stages of another release to other workers."""

    def __init__(self, leases: Leases, book: AttemptBook, metrics: WorkerMetrics) -> None:
        self._leases = leases
        self._book = book
        self._metrics = metrics
        self._noted: set[str] = set()

    def decline(self, key: str, error: OtherReleaseError) -> None:
        """Put the stage's doorbell off for a moment; log and store once why the stage waits."""
        self._leases.put_aside(key, PAUSE)
        self._metrics.declined(error.cause)
        if key in self._noted:
            return
        log.warning("stage left to a worker of another release", stage=key, reason=str(error))
        with contextlib.suppress(StoreError):  # only for people to read
            self._book.write_once(key, _note(str(error)))
            if len(self._noted) >= NOTED:
                self._noted.clear()
            self._noted.add(key)


def _note(reason: str) -> Attempt:
    """The record that the stage's page shows. Its id is a digest of the reason, so that all
    workers of a release share one.
    """
    number = hashlib.sha256(reason.encode()).hexdigest()[:32]
    moment = now()
    return Attempt(
        attempt=number,
        host=socket.gethostname(),
        started=moment,
        ended=moment,
        ending="hindered",
        reason=reason,
    )
