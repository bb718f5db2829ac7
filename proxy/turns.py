"""One agent at one request: it asks for tools that run here, they run, and it goes on."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from accounts.principal import Principal
from proxy import plans
from proxy.answer import Answer, UpstreamError
from proxy.eventstream import EventStream, said
from proxy.plans import Part
from proxy.toolbox import Result
from proxy.wire import sse
from proxy.wire.body import MessagesRequest
from proxy.wire.turn import Block, Manner, Turn, Use
from proxy.wire.weave import Weaver

log = logging.getLogger(__name__)

Blocks = AsyncGenerator[bytes, None]
Ask = Callable[[MessagesRequest, Part], Awaitable[Answer | EventStream]]
Act = Callable[[], Awaitable[None]]

CUT = "The tool was not run: the answer was cut off before the call was whole."
PAUSED = "pause_turn"  # at the upstream: its own tools want another turn


@dataclass(slots=True)
class Spent:
    """What one agent has had of its bounds in one request, however often it has its turn."""

    began_s: float = field(default_factory=time.monotonic)
    turns: int = 0
    calls: int = 0
    cost_nano: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Whose request it is, and how upstreams are asked for it."""

    caller: Principal
    request_id: str  # as clients see it
    manner: Manner
    ask: Ask
    act: Act  # said before tools are run; what it raises keeps them from it
    spent: dict[str, Spent] = field(default_factory=dict)  # by the slugs of agents


class Conversation:
    """What one agent says, through `weaver` to the client, until it has said all."""

    def __init__(self, part: Part, asking: Asking, weaver: Weaver) -> None:
        self.part = part
        self.messages: list[Any] = [*plans.messages_of(part.request)]
        self.ending: dict[str, Any] = {}  # the delta of its last turn's end
        self.said: list[Block] = []  # the blocks of its last turn
        self.has_client_use = False
        self.head: Answer | None = None  # of its first turn
        self.heard: Callable[[Result], None] = lambda _: None  # of each call that was run
        self._asking, self._weaver = asking, weaver
        self._request = part.request
        self._stream: EventStream | None = None
        self._step: UUID | None = None  # the row of the ledger that its last turn is
        self._spent = asking.spent.setdefault(part.agent, Spent())
        self._reached = ""  # the bound that keeps the upstream from being asked again, in words

    async def told(self) -> Blocks:
        """The events of it all, but for the end of the message.

        Raises what relay.relay does, BrokenTurnError, FailedTurnError, and UpstreamError where a
        turn is refused.
        """
        self._weaver.names = self.part.toolbox.names
        self._weaver.owns_all = not self.part.has_client_tools
        while True:
            async with aclosing(self._one_turn()) as blocks:
                async for block in blocks:
                    yield block
            turn = self._weaver.turn()
            results: list[Result] = []
            async with aclosing(self._answered(turn, results)) as blocks:
                async for block in blocks:
                    yield block
            has_ended = self._has_ended(turn)
            if not turn.has_client_use:  # else its content need not be whole
                self._keep(turn, results)
            if has_ended:
                if self._reached and not self._asking.manner.pauses:
                    yield self._weaver.text(f"(Stopped here: {self._reached}. Say how to go on.)")
                return
            self._request = plans.followed(self._request, self.messages)

    async def aclose(self) -> None:
        """Stop the upstream. Safe to call again."""
        if self._stream is not None:
            await self._stream.aclose()

    async def begin(self) -> Answer | None:
        """Ask for the first turn; what is answered where it is refused."""
        if self._stream is None:
            answered = await self._asking.ask(self._request, self.part)
            if isinstance(answered, Answer):
                return answered
            self._stream = answered
            self.head = self.head or answered.answer
        return None

    async def _one_turn(self) -> Blocks:
        """What the upstream says, until it has said all."""
        if refusal := await self.begin():
            raise refused(refusal)
        stream = self._stream
        assert stream is not None  # noqa: S101  (it has begun)
        self._spent.turns += 1
        self._step = stream.step
        try:
            async for block in stream:
                if told := self._weaver.feed(block):
                    yield told
                if failure := self._weaver.failure:
                    raise failure
        finally:
            await stream.aclose()
            self._spent.cost_nano += stream.cost_nano
            self._stream = None

    async def _answered(self, turn: Turn, results: list[Result]) -> Blocks:
        """Run what the turn calls, all at once; each result is told as it comes."""
        if turn.uses and (why := self._why_not(turn)):
            for use in turn.uses:
                yield self._weaver.result(use, why, is_error=True)
                results.append(Result(use=use, text=why, is_error=True))
            return
        if turn.uses:
            await self._asking.act()
        self._spent.calls += len(turn.uses)
        async with aclosing(self._run(turn.uses)) as found:
            async for result in found:
                if result is None:
                    yield sse.PING
                    continue
                results.append(result)
                self.heard(result)
                yield self._weaver.result(result.use, result.text, is_error=result.is_error)

    async def _run(self, uses: Sequence[Use]) -> AsyncGenerator[Result | None, None]:
        """The results as they come; None for a while without any."""
        run, asking, step = self.part.toolbox.run, self._asking, self._step
        running = {
            asyncio.ensure_future(run(asking.caller, use, asking.request_id, step)) for use in uses
        }
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
        most = self.part.bounds.calls
        if self._spent.calls + len(turn.uses) > most:
            self._reached = f"this answer may make {most} tool calls"
            return f"The tool was not run: {self._reached}."
        return ""

    def _has_ended(self, turn: Turn) -> bool:
        """Whether the upstream is not to be asked again; `ending` then says why."""
        self.ending, self.has_client_use = {**turn.delta}, turn.has_client_use
        is_called = turn.stop_reason == "tool_use" and turn.uses
        if turn.has_client_use or not (is_called or turn.stop_reason == PAUSED):
            return True
        self._reached = self._reached or self._bound()
        if self._reached:
            pauses = self._asking.manner.pauses
            self.ending["stop_reason"] = PAUSED if pauses else "end_turn"
        return bool(self._reached)

    def _bound(self) -> str:
        """Which bound stands in the way of another turn; empty for none."""
        bounds = self.part.bounds
        if self._spent.turns >= bounds.turns:
            return f"this answer has had its {bounds.turns} turns"
        if time.monotonic() - self._spent.began_s >= bounds.wall_s:
            return f"this answer has taken its {bounds.wall_s:.0f} seconds"
        if bounds.cost_nano is not None and self._spent.cost_nano >= bounds.cost_nano:
            return "this answer has cost what it may cost"
        return ""

    def _keep(self, turn: Turn, results: Sequence[Result]) -> None:
        """What was said and answered, as the next turn is told it."""
        self.said = [*turn.content()]
        self.messages.append({"role": "assistant", "content": self.said})
        if turn.uses:
            by_id = {one.use.id: one.block for one in results}
            # In the order in which it asked, whichever ended first.
            answers = [by_id[use.id] for use in turn.uses]
            self.messages.append({"role": "user", "content": answers})


def refused(answer: Answer) -> UpstreamError:
    """A refusal in the middle of an answer, as what its stream ends with."""
    try:
        return said(msgspec.json.decode(answer.body)["error"])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return UpstreamError(f"The upstream answered {answer.status} in the middle of the answer.")
