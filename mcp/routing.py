"""The paths at which a WebSocket can be opened."""

from channels.routing import URLRouter
from django.urls import path, re_path

from mcp import consumers
from mcp.consumers import Receive, Scope, Send
from mcp.entry import NoEntryError


async def nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """All others."""
    await receive()
    refusal = NoEntryError(404, "not_found_error", "There is no WebSocket at this path.")
    await consumers.refuse(scope, send, refusal)


_router = URLRouter(
    [
        path("api/mcp/ws/<str:user_id>", consumers.TunnelConsumer.as_asgi()),
        re_path("", nowhere),  # type: ignore[arg-type]
    ]
)


async def websockets(scope: Scope, receive: Receive, send: Send) -> None:
    """Whatever WebSocket the server hands us."""
    # The server logs it, and somebody may have put a key there.
    scope["query_string"] = b""
    await _router(scope, receive, send)
