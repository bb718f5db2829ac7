"""Asks a Brigade: in its dialect, and with a way back to the user's machine while it works."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace

from django.conf import settings

from accounts.principal import CALLBACK
from mcp import tasks
from proxy import dialects
from proxy.adapters.brigade.tasks import NAME as TASKS
from proxy.adapters.language import Asked, Call, Handed
from proxy.answer import Answer, Source
from proxy.routing import Target

EXECUTE = "/api/mcp/execute"
Ask = Callable[[Call, Target, float], Awaitable[tuple[Answer, Asked]]]


async def answer(call: Call, target: Target, within_s: float, ask: Ask) -> tuple[Answer, Asked]:
    """What `ask` gets from the Brigade. The way back is closed when the answer is over.

    Raises what `ask` raises, UpstreamError, and accounts.reads.DatabaseAwayError.
    """
    until = time.monotonic() + within_s
    target = await dialects.settled(target)
    token = await _handed(call, target)
    if token:
        url = f"{settings.EXTERNAL_API_URL}{EXECUTE}"
        call = replace(call, handed=Handed(url=url, token=token))
    is_streamed = False
    try:
        given, asked = await ask(call, target, until - time.monotonic())
        dialects.heard(target, given)
        if token and given.source is not None:
            given = replace(given, source=_Closing(given.source, token))
            is_streamed = True
    finally:
        if token and not is_streamed:
            await tasks.end(token)
    return given, asked


async def _handed(call: Call, target: Target) -> str:
    """The token of a new task; empty where it may run nothing, or could not be told."""
    caller = call.caller
    if not call.machine or caller is None or target.upstream.dialect != TASKS:
        return ""
    # Without the right to run tools by itself a key gives none away; the gateway still runs those
    # that the answer calls.
    if CALLBACK not in caller.scopes:
        return ""
    request_id = f"req_{(call.root_id or call.request_id).hex}"
    tools = [asdict(tool) for tool in call.machine]
    return await tasks.begin(caller, request_id, call.request_id, tools)


class _Closing:
    """A stream whose end is the end of its task."""

    __slots__ = ("_source", "_token")

    def __init__(self, source: Source, token: str) -> None:
        self._source = source
        self._token = token

    async def read(self) -> bytes:
        return await self._source.read()

    async def close(self) -> None:
        token, self._token = self._token, ""
        try:
            await self._source.close()
        finally:
            if token:
                await tasks.end(token)
