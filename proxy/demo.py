"""The built-in demo as an upstream: nothing leaves the process."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

import msgspec

from proxy.adapters import demo
from proxy.adapters.language import Asked
from proxy.answer import Answer, Source
from proxy.languages import signer
from proxy.wire import message, sse
from proxy.wire.body import JSONObject

DEMO_BYTES = 4 * 1024 * 1024  # it reads the whole body on the event loop


async def ask(asked: Asked) -> Answer:
    """The demo's answer, as an upstream on the network would give it."""
    if len(asked.body) > DEMO_BYTES:
        return _too_large()
    events = demo.answer(JSONObject.parse(asked.body).decoded(), signer=signer)
    try:
        first = await anext(events, b"")
    except demo.Failure as failure:
        headers = {} if failure.retry_after is None else {"retry-after": str(failure.retry_after)}
        return _error(failure.status, failure.type, failure.message, headers)
    source = DemoSource(first, events)
    if asked.stream:
        return Answer(status=200, content_type="text/event-stream; charset=utf-8", source=source)
    return await _whole(source)


async def _whole(source: Source) -> Answer:
    """The demo's events as one message, or as the error that one of them is."""
    decoded = []
    while block := await source.read():
        decoded += [msgspec.json.decode(event.data) for event in sse.events(block)]
    try:
        return Answer(status=200, body=msgspec.json.encode(message.assemble(decoded)))
    except message.FailedStreamError as failure:
        return _error(500, failure.kind, failure.message)


def _error(status: int, kind: str, text: str, headers: Mapping[str, str] | None = None) -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": text}}
    return Answer(status=status, headers=headers or {}, body=msgspec.json.encode(body))


class DemoSource:
    """The events of the built-in demo."""

    def __init__(self, first: bytes, events: AsyncGenerator[bytes, None]) -> None:
        self._first = first
        self._events = events
        self._next: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._events, b""))
        # Whoever waits may be called away for a ping; the demo goes on.
        block = await asyncio.shield(self._next)
        self._next = None
        return block

    async def close(self) -> None:
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
        await self._events.aclose()


def count_tokens(asked: Asked) -> Answer:
    """The demo's guess at the input tokens."""
    if len(asked.body) > DEMO_BYTES:
        return _too_large()
    counted = {"input_tokens": demo.count_tokens(JSONObject.parse(asked.body).decoded())}
    return Answer(status=200, body=msgspec.json.encode(counted))


def _too_large() -> Answer:
    return _error(413, "request_too_large", f"The demo takes at most {DEMO_BYTES} bytes.")
