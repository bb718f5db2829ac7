"""What a local server sends, before the SDK reads it."""

import asyncio
import math
from collections.abc import Callable
from types import TracebackType
from typing import Any

import anyio
from mcp.client._transport import ReadStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification
from typing_extensions import Self

PROGRESS = "notifications/progress"

Heard = SessionMessage | Exception


class Hearing:
    """The server's messages, without those that would end the SDK's reading of them.

    `closed` is set when there will be no more. `babbled` hears of 1, 10, 100, ... that are none.
    """

    def __init__(
        self, stream: ReadStream[Heard], closed: asyncio.Event, babbled: Callable[[int], None]
    ) -> None:
        self._stream = stream
        self._closed = closed
        self._babbled = babbled
        self._wrong = 0
        self._told_at = 1

    async def receive(self) -> Heard:
        while True:
            try:
                heard = await self._stream.receive()
            except (anyio.EndOfStream, anyio.ClosedResourceError):
                self._closed.set()
                raise
            if isinstance(heard, Exception):
                self._count()
            elif _breaks(heard.message):
                continue
            return heard

    async def aclose(self) -> None:
        self._closed.set()
        await self._stream.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Heard:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _count(self) -> None:
        self._wrong += 1
        if self._wrong == self._told_at:
            self._told_at *= 10
            self._babbled(self._wrong)


def _breaks(message: Any) -> bool:
    """Whether it is a progress of no number: the SDK makes a float of it, and ends if it cannot."""
    if not isinstance(message, JSONRPCNotification) or message.method != PROGRESS:
        return False
    params = message.params or {}
    return not all(_is_number(params.get(name, 0)) for name in ("progress", "total"))


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, (int, float)) or math.isfinite(value)
    except OverflowError:
        return False
