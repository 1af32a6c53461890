"""Submitting a spec: it is resolved, checked against the caller's limits, and stored once."""

from __future__ import annotations

from api.backend import Backend
from api.experiments.idempotency import IdempotencyRecords, Record, digest_of
from api.experiments.planning import resolve_text
from api.security.auth import Caller
from api.security.limits import check_open_experiments
from shared.experiments.experiments import Experiment, experiment_id
from shared.plan import make_plan
from shared.resolve.resolved import ResolvedSpec
from shared.store import NotFoundError


def submit_spec(
    backend: Backend, caller: Caller, body: bytes, key: str | None
) -> tuple[Experiment, bool]:
    """The experiment of a spec, and whether this request stored it.

    Raises SpecError when the spec cannot be run, a 429 problem when the caller has too many
    experiments running, a 422 problem when the Idempotency-Key `key` was used with another body.
    """
    if key is None:
        return _stored(backend, caller, resolve_text(body, backend.uploads, backend.settings))
    records = IdempotencyRecords(backend.store)
    record = records.find(caller.name, key, body)
    if record is None:
        record = _claimed(backend, caller, body, key, records)
    return _stored(backend, caller, record.resolved)


def _claimed(
    backend: Backend, caller: Caller, body: bytes, key: str, records: IdempotencyRecords
) -> Record:
    """Claim an unused key, after all checks that may refuse the request; returns its record."""
    resolved = resolve_text(body, backend.uploads, backend.settings)
    make_plan(resolved)
    if _existing(backend, resolved) is None:
        check_open_experiments(backend, caller)
    record = Record(body=digest_of(body), experiment=_number(resolved), resolved=resolved)
    return records.claim(caller.name, key, body, record)


def _stored(backend: Backend, caller: Caller, resolved: ResolvedSpec) -> tuple[Experiment, bool]:
    existing = _existing(backend, resolved)
    if existing is not None:
        return existing, False
    plan = make_plan(resolved)
    check_open_experiments(backend, caller)
    spec = resolved.model_dump(mode="json")
    return backend.experiments.submit(resolved.spec.name, spec, plan, owner=caller.name), True


def _existing(backend: Backend, resolved: ResolvedSpec) -> Experiment | None:
    try:
        return backend.experiments.get(_number(resolved))
    except NotFoundError:
        return None


def _number(resolved: ResolvedSpec) -> str:
    return experiment_id(resolved.spec.name, resolved.model_dump(mode="json"))
