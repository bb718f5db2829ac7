"""Spans on their way to a collector by OpenTelemetry's own SDK. `OTEL_*` variables count too.

The SDK makes ids by chance; ours say what they belong to: a trace's is that of the request, a
span's the half of the row's that was made by chance.
"""

import threading
import time

from django.conf import settings
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from accounts.tracing import Span

NAME = "opscenter"
STOP_S = 5.0  # for a collector that does not answer while we stop
_HALF = 2**64 - 1


class Teller:
    """One for each process: the SDK's thread does not outlive a fork."""

    def __init__(self) -> None:
        self._ids = _Ids()
        self._provider = TracerProvider(
            id_generator=self._ids, resource=_resource(), shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{settings.OTLP_URL}/v1/traces"))
        )
        self._tracer = self._provider.get_tracer(NAME)

    def tell(self, span: Span) -> None:
        """Put it with those that are sent next; the oldest give way where nobody takes them."""
        now = time.time_ns()
        self._ids.next = span
        told = self._tracer.start_span(
            span.name,
            context=_beneath(span),
            kind=SpanKind.CLIENT if span.is_call else SpanKind.INTERNAL,
            attributes=span.attributes,
            start_time=now - int(span.seconds * 1e9),
        )
        if span.error:
            told.set_status(Status(StatusCode.ERROR, span.error))
        told.end(now)

    def close(self) -> None:
        """Send what is left. A collector that hangs does not hold us longer."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(STOP_S)


class _Ids(IdGenerator):
    next: Span  # set before one is begun

    def generate_trace_id(self) -> int:
        return self.next.root.int

    def generate_span_id(self) -> int:
        return self.next.id.int & _HALF


def _resource() -> Resource:
    """What the environment says of us; our name where it says none."""
    found = Resource.create()
    is_named = not str(found.attributes[SERVICE_NAME]).startswith("unknown_service")
    return found if is_named else found.merge(Resource({SERVICE_NAME: NAME}))


def _beneath(span: Span) -> Context:
    if span.parent is None:
        return Context()
    parent = SpanContext(
        trace_id=span.root.int,
        span_id=span.parent.int & _HALF,
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())
