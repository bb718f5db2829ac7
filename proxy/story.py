"""One answer in one stream, by one agent or a crew, with words at its end whatever happens."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol, Self

import msgspec

from proxy import crew, errors
from proxy.answer import Answer, UpstreamNonsenseError
from proxy.plans import Plan
from proxy.turns import Asking, Conversation
from proxy.wire import message, sse
from proxy.wire.weave import Weaver

EVENTS = "text/event-stream; charset=utf-8"

log = logging.getLogger(__name__)


class Story:
    """The events of an answer. An object, for a generator that never began closes nothing."""

    def __init__(self, plan: Plan, asking: Asking) -> None:
        self._request_id = asking.request_id
        self._weaver = Weaver(asking.manner, plan.model, plan.opening())
        self._first = Conversation(plan.parts[0], asking, self._weaver)
        self._blocks = self._ended(crew.told(plan, asking, self._weaver, self._first))
        self._begins_itself = plan.kind == "fan_out"
        self.answer = Answer(status=200, content_type=EVENTS)

    async def begin(self) -> Answer | None:
        """Ask for the first turn, so that a refusal still has an HTTP status: it is given back.

        Agents that are asked at once are not waited for. Raises what relay.relay does.
        """
        if self._begins_itself:
            return None
        refusal = await self._first.begin()
        if self._first.head is not None:
            self.answer = replace(self.answer, headers=self._first.head.headers)
        return refusal

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._blocks)

    async def aclose(self) -> None:
        """Stop everything: the upstreams, and the tools that run. Safe to call again."""
        try:
            await self._blocks.aclose()
        finally:
            await self._first.aclose()

    async def _ended(self, blocks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(blocks):
                async for block in blocks:
                    yield block
        except Exception as error:  # the last edge: a stream ends with words, whatever it is
            trace = error if errors.is_unexpected(error) else None
            log.warning("%s broke off: %r", self._request_id, error, exc_info=trace)
            yield self._weaver.error(*errors.words_of(error))


class Told(Protocol):
    """The blocks of an answer, whoever tells them."""

    answer: Answer

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None: ...


async def whole(told: Told) -> Answer:
    """The answer in one piece. Raises UpstreamNonsenseError."""
    events: list[dict[str, Any]] = []
    async with aclosing(told) as blocks:
        async for block in blocks:
            events += [msgspec.json.decode(one.data) for one in sse.events(block)]
    try:
        body: dict[str, Any] = message.assemble(events)
        status = 200
    except message.FailedStreamError as error:
        body = errors.envelope(error.kind, error.message)
        status = errors.STATUS.get(error.kind, 500)
    except message.BrokenStreamError as error:  # a call of the client's own, with no JSON
        raise UpstreamNonsenseError(f"The upstream's answer is not whole: {error}.") from error
    return Answer(status=status, headers=told.answer.headers, body=msgspec.json.encode(body))
