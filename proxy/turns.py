"""One answer out of several turns of an upstream: it asks for our tools, they run, it goes on."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Self

import msgspec
from django.conf import settings

from accounts.principal import Principal
from billing.ledger import RecordId
from proxy import errors, plans
from proxy.answer import Answer, UpstreamError
from proxy.eventstream import EventStream, said
from proxy.plans import Plan
from proxy.toolbox import Result
from proxy.wire import message, sse
from proxy.wire.body import MessagesRequest
from proxy.wire.weave import BrokenTurnError, Turn, Use, Weaver

log = logging.getLogger(__name__)

Ask = Callable[[MessagesRequest], Awaitable[Answer | EventStream]]
Blocks = AsyncGenerator[bytes, None]

CUT = "The tool was not run: the answer was cut off before the call was whole."
PAUSED = "pause_turn"  # at the upstream: its own tools want another turn


class Turns:
    """The events of one answer. An object, for a generator that was never begun closes nothing."""

    def __init__(
        self, plan: Plan, caller: Principal, request_id: RecordId, first: EventStream, ask: Ask
    ) -> None:
        self.answer = first.answer
        self._plan, self._caller = plan, caller
        self._request_id = f"req_{request_id.hex}"
        self._ask = ask
        self._stream = first
        self._weaver = Weaver(plan.toolbox.names, plan.manner, plan.model, plan.opening())
        self._request = plan.request
        self._began = time.monotonic()
        self._turns = self._calls = self._cost_nano = 0
        self._reached = ""  # the bound that keeps the upstream from being asked again, in words
        self._story = self._told()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._story)

    async def aclose(self) -> None:
        """Stop everything: the upstream, and the tools that run. Safe to call again."""
        try:
            await self._story.aclose()
        finally:
            await self._stream.aclose()

    async def _told(self) -> Blocks:
        try:
            while True:
                async with aclosing(self._one_turn()) as blocks:
                    async for block in blocks:
                        yield block
                if self._weaver.has_error:
                    return
                turn = self._weaver.turn()
                results: list[Result] = []
                async with aclosing(self._answered(turn, results)) as blocks:
                    async for block in blocks:
                        yield block
                if ending := self._ending(turn):
                    yield ending
                    return
                await self._go_on(turn, results)
        except Exception as error:  # the last edge: a stream ends with words, whatever it is
            log.warning("%s broke off in turn %d: %r", self._request_id, self._turns, error)
            yield self._weaver.error(*_words(error))

    async def _one_turn(self) -> Blocks:
        """What the upstream says, until it has said all."""
        self._turns += 1
        try:
            async for block in self._stream:
                if told := self._weaver.feed(block):
                    yield told
        finally:
            await self._stream.aclose()
            self._cost_nano += self._stream.cost_nano

    async def _answered(self, turn: Turn, results: list[Result]) -> Blocks:
        """Run what the turn calls, all at once; each result is told as it comes."""
        if turn.uses and (why := self._why_not(turn)):
            for use in turn.uses:
                yield self._weaver.result(use, why, is_error=True)
                results.append(Result(use=use, text=why, is_error=True))
            return
        self._calls += len(turn.uses)
        async with aclosing(self._run(turn.uses)) as found:
            async for result in found:
                if result is None:
                    yield sse.PING
                    continue
                results.append(result)
                yield self._weaver.result(result.use, result.text, is_error=result.is_error)

    async def _run(self, uses: Sequence[Use]) -> AsyncGenerator[Result | None, None]:
        """The results as they come; None for a while without any."""
        run = self._plan.toolbox.run
        running = {asyncio.ensure_future(run(self._caller, use, self._request_id)) for use in uses}
        try:
            while running:
                done, running = await asyncio.wait(
                    running, timeout=settings.PING_S, return_when=asyncio.FIRST_COMPLETED
                )
                for one in done:
                    yield one.result()
                if not done:
                    yield None
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _why_not(self, turn: Turn) -> str:
        """Why the calls of a turn are not run; empty where they are."""
        if turn.stop_reason != "tool_use":
            return CUT
        most = self._plan.bounds.calls
        if self._calls + len(turn.uses) > most:
            self._reached = f"this answer may make {most} tool calls"
            return f"The tool was not run: {self._reached}."
        return ""

    def _ending(self, turn: Turn) -> bytes:
        """The end of the answer; empty where the upstream is to be asked again."""
        is_called = turn.stop_reason == "tool_use" and turn.uses and not turn.has_client_use
        if not is_called and turn.stop_reason != PAUSED:
            return self._weaver.end(turn.delta)
        self._reached = self._reached or self._bound()
        if not self._reached:
            return b""
        if self._plan.manner.pauses:
            return self._weaver.end({**turn.delta, "stop_reason": PAUSED})
        told = self._weaver.text(f"(Stopped here: {self._reached}. Say how to go on.)")
        return told + self._weaver.end({**turn.delta, "stop_reason": "end_turn"})

    def _bound(self) -> str:
        """Which bound stands in the way of another turn; empty for none."""
        bounds = self._plan.bounds
        if self._turns >= bounds.turns:
            return f"this answer has had its {bounds.turns} turns"
        if time.monotonic() - self._began >= bounds.wall_s:
            return f"this answer has taken its {bounds.wall_s:.0f} seconds"
        if bounds.cost_nano is not None and self._cost_nano >= bounds.cost_nano:
            return "this answer has cost what it may cost"
        return ""

    async def _go_on(self, turn: Turn, results: Sequence[Result]) -> None:
        """Ask for the next turn. Raises what relay.relay does, and UpstreamError for a refusal."""
        told: list[Any] = [*plans.messages_of(self._request)]
        told.append({"role": "assistant", "content": list(turn.content)})
        if turn.uses:
            by_id = {one.use.id: one.block for one in results}
            # In the order in which it asked, whichever ended first.
            told.append({"role": "user", "content": [by_id[use.id] for use in turn.uses]})
        self._request = plans.followed(self._request, told)
        answered = await self._ask(self._request)
        if isinstance(answered, Answer):
            raise refused(answered)
        self._stream = answered


def refused(answer: Answer) -> UpstreamError:
    """A refusal in the middle of an answer, as what its stream ends with."""
    try:
        return said(msgspec.json.decode(answer.body)["error"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return UpstreamError(f"The upstream answered {answer.status} in the middle of the answer.")


async def whole(turns: Turns) -> Answer:
    """The answer in one piece."""
    events: list[dict[str, Any]] = []
    async with aclosing(turns) as blocks:
        async for block in blocks:
            events += [msgspec.json.decode(one.data) for one in sse.events(block)]
    head = turns.answer
    try:
        body: dict[str, Any] = message.assemble(events)
        status = 200
    except message.FailedStreamError as error:
        body = errors.envelope(error.kind, error.message)
        status = errors.STATUS.get(error.kind, 500)
    return Answer(
        status=status,
        headers=head.headers,
        request_id=head.request_id,
        body=msgspec.json.encode(body),
    )


def _words(error: Exception) -> tuple[str, str]:
    if isinstance(error, BrokenTurnError):
        return "api_error", str(error)
    return errors.kind_of(error), errors.text_of(error)
