"""A request as a span, by OpenTelemetry's conventions for generative AI; see accounts.tracing."""

from accounts import tracing
from accounts.tracing import Attribute, Span
from billing.ledger import Admission, Closing, State


def ended(admission: Admission, closing: Closing, cost_nano: int) -> None:
    """Tell of a request that was sent on and is over."""
    if not tracing.is_on():
        return
    failed = closing.error_type or ("" if closing.state == State.COMPLETED else closing.state)
    tracing.ended(
        Span(
            id=admission.id,
            root=admission.parent_id or admission.id,
            parent=admission.parent_id,
            name=f"chat {closing.target_model}",
            seconds=closing.duration_ms / 1000,
            attributes={
                name: value
                for name, value in _attributes(admission, closing, cost_nano).items()
                if value not in {None, ""}
            },
            error=failed,
            is_call=True,
        )
    )


def _attributes(
    admission: Admission, closing: Closing, cost_nano: int
) -> dict[str, Attribute | None]:
    counts = closing.settled.counts
    written = counts.cache_write_5m_tokens + counts.cache_write_1h_tokens
    first_s = None if closing.first_byte_ms is None else closing.first_byte_ms / 1000
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": closing.upstream,
        "gen_ai.request.model": closing.target_model,
        "gen_ai.request.stream": admission.streamed,
        "gen_ai.response.model": closing.served_model,
        "gen_ai.response.id": closing.message_id,
        "gen_ai.response.finish_reasons": (closing.stop_reason,) if closing.stop_reason else None,
        "gen_ai.response.time_to_first_chunk": first_s,
        # To the conventions what came from a cache is input too; to Anthropic it is not.
        "gen_ai.usage.input_tokens": counts.input_tokens + counts.cache_read_tokens + written,
        "gen_ai.usage.output_tokens": counts.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": counts.cache_read_tokens,
        "gen_ai.usage.cache_creation.input_tokens": written,
        "gen_ai.conversation.id": admission.session_id,
        "gen_ai.agent.name": admission.agent,
        "error.type": closing.error_type,
        "http.response.status_code": closing.status,
        "opscenter.request_id": f"req_{admission.id.hex}",
        "opscenter.requested_model": admission.requested_model,
        "opscenter.route": closing.route,
        "opscenter.moved_from": closing.moved_from,
        "opscenter.attempts": closing.attempts,
        "opscenter.cost_usd": cost_nano / 1e9,
        "opscenter.key_id": str(admission.api_key_id or ""),
    }
