"""Limits of one caller: request rate, open experiments, size of an upload."""

from __future__ import annotations

from fastapi_problem.error import StatusProblem

from api.backend import Backend
from api.http.bodies import TooLargeProblem
from api.security.auth import Caller
from shared.experiments.states import ExperimentState

OPEN_RETRY = 60  # seconds; an experiment takes minutes at least


class TooManyProblem(StatusProblem):
    """The caller has to wait."""

    title = "Too many."
    status = 429

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail=detail, headers={"Retry-After": str(retry_after)})


def check_upload(caller: Caller, size: int) -> None:
    """A 413 problem when `size` bytes are more than the caller may upload at once."""
    if size > caller.upload_bytes:
        raise TooLargeProblem(detail=f"the upload: larger than {caller.upload_bytes} bytes")


def check_open_experiments(backend: Backend, caller: Caller) -> None:
    """A 429 problem when the caller has as many running experiments as it may.

    The number is looked up, not reserved: simultaneous requests may exceed the limit together.
    """
    limit = caller.open_experiments
    if limit and _running(backend, caller.name) >= limit:
        raise TooManyProblem(
            f"open experiments: {limit} are running, which is your limit; wait or cancel one",
            OPEN_RETRY,
        )


def _running(backend: Backend, owner: str) -> int:
    """How many experiments of an owner run."""
    own = [entry for entry, card in backend.experiments.cards() if card.owner == owner]
    standings = backend.experiments.standings(own, backend.leases)
    return sum(standing.state is ExperimentState.RUNNING for standing in standings)
