"""The ASGI entry: messages and tool calls on the lean handler, WebSockets to the tunnel.

The rest is Django's own.
"""

import asyncio
import gc

from opscenter import env

env.use_settings()

from django.core.asgi import get_asgi_application  # noqa: E402  (settings first)

site = get_asgi_application()  # before what follows: it sets Django up

from django.conf import settings  # noqa: E402  (they are read now)

from billing import writer  # noqa: E402  (needs Django)
from mcp.routing import websockets  # noqa: E402  (needs Django)
from mcp.views import carried  # noqa: E402  (needs Django)
from opscenter import beside, callers, live, live_bell, probes  # noqa: E402  (needs Django)
from opscenter.intake import Receive, Scope, Send  # noqa: E402  (needs Django)
from opscenter.lean import (  # noqa: E402  (needs Django)
    LeanHandler,
    tunnel_refusal,
    within_bounds,
)
from proxy import connections, joining  # noqa: E402  (needs Django)

messages = LeanHandler("proxy.urls", settings.BODY_MAX_BYTES)
tunnel = LeanHandler("mcp.lean_urls", carried.MAX_BYTES, tunnel_refusal, callers.of_tunnel)

# Who polls or runs a tool waits nearly all the time: on Django's own handler each holds a thread.
POLLS = frozenset({"/api/mcp/poll", "/api/mcp/submit"})
CREDENTIALS = frozenset({b"authorization", b"x-api-key"})


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Whatever the server hands us."""
    if scope["type"] == "lifespan":
        await _live(receive, send)
    elif scope["type"] == "http" and (scope["path"].startswith("/v1/") or scope["path"] == "/v1"):
        await messages(scope, receive, send)
    elif scope["type"] == "http" and scope["path"] in probes.PATHS:
        await probes.application(scope, receive, send)
    elif scope["type"] == "http" and _carries_calls(scope):
        await tunnel(scope, receive, send)
    elif scope["type"] == "http":
        await within_bounds(site, scope, receive, send)
    elif scope["type"] == "websocket" and scope["path"] == live.BELL:
        await live_bell.application(scope, receive, send)
    elif scope["type"] == "websocket":
        await websockets(scope, receive, send)
    else:
        await site(scope, receive, send)


def _carries_calls(scope: Scope) -> bool:
    path = scope["path"].removesuffix("/")
    # People who are signed in may run tools too: their session is the middleware's affair.
    by_key = path == callers.EXECUTE and any(name in CREDENTIALS for name, _ in scope["headers"])
    return path in POLLS or by_key


async def _live(receive: Receive, send: Send) -> None:
    """The server's start and end. At the end nothing that was promised is left unwritten."""
    besides: beside.Beside | None = None
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            besides = beside.Beside()
            besides.start()
            _settle_memory()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await joining.shutdown()
            await connections.shutdown()
            if besides is not None:
                await besides.end()
            await writer.shutdown()
            await asyncio.to_thread(beside.sign_off)
            await send({"type": "lifespan.shutdown.complete"})
            return


def _settle_memory() -> None:
    """Spare the collector what lives as long as the process: a sixth of a request's CPU.

    Requests leave hardly any cycles behind, so it also need not look as often as by default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
