"""OpenTelemetry traces, where LINEAMENT_TRACE_ENDPOINT names a server for them.

An experiment is one trace. Its id follows from the experiment's, so that every process that works
for the experiment can join the trace without a message. The packages are loaded only when needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

FLUSH_EVERY = 1000  # milliseconds until a span that ended is sent
FLUSH_AT_END = 5000  # milliseconds that an ending process waits for its last spans to be sent

_provider: Any = None
_tracer: Any = None
# Trace and span id for the next span that has no parent; the library has no other way to set them.
_ids: ContextVar[tuple[int, int] | None] = ContextVar("trace_ids", default=None)


def configure_tracing(role: str, endpoint: str) -> None:
    """Send the spans of this process to an OTLP/HTTP server; does nothing without an endpoint.

    A process that forks calls this after the fork, because a thread sends the spans.
    """
    if not endpoint:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces")
    use(role, BatchSpanProcessor(exporter, schedule_delay_millis=FLUSH_EVERY))


def use(role: str, processor: Any) -> None:
    """Give the spans of this process to an OpenTelemetry span processor."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random ids, unless the next ones are given."""

        def generate_trace_id(self) -> int:
            given = _ids.get()
            return given[0] if given else super().generate_trace_id()

        def generate_span_id(self) -> int:
            given = _ids.get()
            return given[1] if given else super().generate_span_id()

    global _provider, _tracer
    resource = Resource.create({"service.name": f"lineament-{role}"})
    _provider = TracerProvider(resource=resource, id_generator=Ids(), shutdown_on_exit=False)
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("lineament")


def shut_tracing() -> None:
    """Send the remaining spans, before the process ends."""
    global _provider, _tracer
    if _provider is not None:
        _provider.force_flush(FLUSH_AT_END)
        _provider.shutdown()
    _provider = _tracer = None


def experiment_ids(experiment: str) -> tuple[int, int]:
    """Trace id and root span id of an experiment; neither is 0."""
    digest = hashlib.sha256(experiment.encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1


@contextmanager
def span(name: str, experiment: str = "", **attributes: str | int | float) -> Iterator[Any]:
    """A span around the block, in the experiment's trace if one is named.

    Yields the span, or None without tracing.
    """
    if _tracer is None:
        yield None
        return
    named = {f"lineament.{key}": value for key, value in attributes.items()}
    context = None
    if experiment:
        named["lineament.experiment"] = experiment
        context = _within(experiment)
    with _tracer.start_as_current_span(name, context=context, attributes=named) as opened:
        yield opened


def _within(experiment: str) -> Any:
    """The context of an experiment's root span, which another process may have started."""
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    trace, root = experiment_ids(experiment)
    flags = TraceFlags(TraceFlags.SAMPLED)
    return set_span_in_context(NonRecordingSpan(SpanContext(trace, root, True, flags)))


def begin_experiment(experiment: str) -> None:
    """Record the root span of an experiment that was just submitted."""
    if _tracer is None:
        return
    from opentelemetry.context import Context

    token = _ids.set(experiment_ids(experiment))
    try:
        attributes = {"lineament.experiment": experiment}
        _tracer.start_span("experiment", context=Context(), attributes=attributes).end()
    finally:
        _ids.reset(token)


def note(opened: Any, **attributes: str | int | float) -> None:
    """Add attributes to the span that `span` yielded, if there is one."""
    if opened is not None:
        opened.set_attributes({f"lineament.{key}": value for key, value in attributes.items()})
