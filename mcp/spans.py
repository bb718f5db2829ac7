"""A tool call as a span, by OpenTelemetry's conventions for generative AI; see accounts.tracing."""

from uuid import UUID

from accounts import tracing
from accounts.tracing import Span
from mcp.states import State

REQUEST = "req_"


def ended(
    call_id: UUID,
    state: State,
    *,
    server: str,
    tool: str,
    seconds: float,
    step: UUID | None,
    request_id: str,
    is_error: bool,
) -> None:
    """Tell of a call whose end somebody waited for."""
    if not tracing.is_on():
        return
    failed = "" if state == State.SUCCEEDED else state.value
    tracing.ended(
        Span(
            id=call_id,
            root=_root(call_id, step, request_id),
            parent=step,
            name=f"execute_tool {tool}",
            seconds=seconds,
            attributes={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": tool,
                "gen_ai.tool.type": "extension",
                "gen_ai.tool.call.id": str(call_id),
                "opscenter.server": server,
                "opscenter.state": state.value,
                "opscenter.is_error": is_error,
            },
            error=failed or ("tool_error" if is_error else ""),
        )
    )


def _root(call_id: UUID, step: UUID | None, request_id: str) -> UUID:
    """The request whose answer called it. What a caller of ours says itself is not believed."""
    if step is None:
        return call_id
    try:
        return UUID(hex=request_id.removeprefix(REQUEST))
    except ValueError:
        return step
