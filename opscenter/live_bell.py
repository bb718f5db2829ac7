"""`WebSocket /admin/live/bell`: tells the admin's live page that something has happened.

What has happened it does not say: the page asks for it with a request of its own, which every
check on requests sees. With the bell cut the page looks by itself, a little later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from channels.consumer import AsyncConsumer
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.contrib.auth import get_user
from django.db import DatabaseError
from django.http import HttpRequest

from mcp import bell
from mcp.consumers import refuse
from mcp.entry import NoEntryError
from opscenter.live import MAY_LOOK

SOON_S = 0.5  # several things at once are one change
JUDGED_S = 60.0  # a session that has ended meanwhile is noticed after that
OVER = 4401  # as docs/tunnel.md has it
CHANGED = "changed"

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class LiveBell(AsyncConsumer):  # type: ignore[misc]  # Channels ships no types
    """One open page."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """From the handshake until the browser leaves or its session ends."""
        await receive()  # websocket.connect
        key = _session_key(scope)
        try:
            if not await may_look(key):
                text = "Only staff who may see tool calls see the live page."
                raise NoEntryError(403, "permission_error", text)
        except NoEntryError as refusal:
            await refuse(scope, send, refusal)
            return
        await send({"type": "websocket.accept"})
        leaving = asyncio.ensure_future(_left(receive))
        ringing = asyncio.ensure_future(_ring(key, send))
        try:
            await asyncio.wait([leaving, ringing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in (leaving, ringing):
                half.cancel()
            await asyncio.gather(leaving, ringing, return_exceptions=True)


# Another site's page could open it with the cookies of whoever looks at that page.
application = AllowedHostsOriginValidator(LiveBell.as_asgi())


@sync_to_async
def may_look(session_key: str) -> bool:
    """Whether the session is somebody's who may see the page. Raises NoEntryError."""
    request = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    try:
        user = get_user(request)
        return user.is_active and user.is_staff and user.has_perm(MAY_LOOK)
    except DatabaseError as error:
        again = [(b"retry-after", b"1")]
        text = "The database does not answer. Try again in a moment."
        raise NoEntryError(503, "overloaded_error", text, again) from error


def _session_key(scope: Scope) -> str:
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
    try:
        found = SimpleCookie("; ".join(lines)).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return found.value if found else ""


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def _ring(key: str, send: Send) -> None:
    loop = asyncio.get_running_loop()
    judged_at = loop.time()
    with bell.current().of_all() as ear:
        while True:
            if await ear.wait(JUDGED_S):
                await send({"type": "websocket.send", "text": CHANGED})
                await asyncio.sleep(SOON_S)
            if loop.time() - judged_at >= JUDGED_S:
                judged_at = loop.time()
                if not await _is_good(key):
                    await send({"type": "websocket.close", "code": OVER})
                    return


async def _is_good(key: str) -> bool:
    try:
        return await may_look(key)
    except NoEntryError:  # nobody is thrown out because the database is away
        return True
