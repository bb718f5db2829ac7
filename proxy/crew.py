"""Several agents at one request: one alone, one after the other, or at once and then one of all."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from django.conf import settings

from proxy import errors, plans
from proxy.answer import UpstreamError
from proxy.plans import Part, Plan
from proxy.toolbox import Result
from proxy.turns import CUT, Asking, Conversation
from proxy.wire import sse
from proxy.wire.rewind import blocks_of
from proxy.wire.usages import Usages
from proxy.wire.weave import Weaver

log = logging.getLogger(__name__)
Blocks = AsyncGenerator[bytes, None]

ACCEPTED = "ACCEPTED"
_REVIEW = (
    f"Review the work above. End with a line that says {ACCEPTED} if nothing has to change; else"
    " with CHANGES NEEDED and what has to change, the worst first. You cannot change it yourself."
)
_REVISE = "{name} has reviewed your work:\n\n{said}\n\nChange what has to be changed."
_SYNTHESISE = (
    "Your colleagues have worked on this:\n\n{said}\n\nAnswer it yourself now, by their work."
)
MAX_SAID_CHARS = 40_000  # of one agent's work, as others are shown it


def told(plan: Plan, asking: Asking, weaver: Weaver, first: Conversation) -> Blocks:
    """The events of the whole answer. `first` is the conversation of the first agent."""
    if plan.kind == "fan_out":
        return _fanned_out(plan, asking, weaver, first)
    return _chained(plan, asking, weaver, first)


async def _chained(plan: Plan, asking: Asking, weaver: Weaver, first: Conversation) -> Blocks:
    """The first works, the others review it one after the other; it works on what they say."""
    chain = _Chain(plan, asking, weaver, first)
    async with aclosing(_spoken(first)) as blocks:
        async for block in blocks:
            yield block
    for _ in range(plan.rounds):
        before = chain.work
        for reviewer in plan.parts[1:]:
            async with aclosing(chain.reviewed(reviewer)) as blocks:
                async for block in blocks:
                    yield block
        if chain.work is before:  # nobody wants anything changed
            break
    yield weaver.end(chain.work.ending or first.ending)


@dataclass(slots=True)
class _Chain:
    """Work on its way through the hands of others."""

    plan: Plan
    asking: Asking
    weaver: Weaver
    work: Conversation

    async def reviewed(self, reviewer: Part) -> Blocks:
        """What a reviewer says, and what the first makes of it."""
        if not _is_done(self.work):
            return
        review = Conversation(_reviewing(reviewer, self.work), self.asking, self.weaver)
        async with aclosing(_stepped(review, self.weaver)) as blocks:
            async for block in blocks:
                yield block
        said = _text(review)
        if not _is_done(review) or _is_accepted(said):
            return
        revising = _revising(self.plan.parts[0], self.work, reviewer, said)
        self.work = Conversation(revising, self.asking, self.weaver)
        async with aclosing(_stepped(self.work, self.weaver)) as blocks:
            async for block in blocks:
                yield block


async def _stepped(conversation: Conversation, weaver: Weaver) -> Blocks:
    """A further step, under the agent's name. That it fails is told, and is not the end of all."""
    yield weaver.text(f"[{conversation.part.name}]")
    try:
        async with aclosing(_spoken(conversation)) as blocks:
            async for block in blocks:
                yield block
    except Exception as error:  # whatever it is, what the others did is worth its answer
        yield weaver.abandon(CUT)
        yield weaver.text(f"({conversation.part.name} failed: {_why(error)})")


async def _spoken(conversation: Conversation) -> Blocks:
    try:
        async with aclosing(conversation.told()) as blocks:
            async for block in blocks:
                yield block
    finally:
        await conversation.aclose()


def _why(error: Exception) -> str:
    """Why an agent failed, for the client; the log gets the rest."""
    trace = error if errors.is_unexpected(error) else None
    log.warning("an agent of a crew failed: %r", error, exc_info=trace)
    return errors.words_of(error)[1]


def _is_done(conversation: Conversation) -> bool:
    """Whether it has said all that it wants: it waits for nothing, and was not cut off."""
    if conversation.has_client_use:
        return False
    return conversation.ending.get("stop_reason") in {"end_turn", "stop_sequence"}


def _is_accepted(said: str) -> bool:
    """Whether a line of a review says so, however it is set off."""
    return any(line.strip(" *`#_.").upper() == ACCEPTED for line in said.splitlines())


def _reviewing(reviewer: Part, work: Conversation) -> Part:
    return _told_more(reviewer, work.messages, _REVIEW)


def _revising(part: Part, work: Conversation, reviewer: Part, said: str) -> Part:
    return _told_more(part, work.messages, _REVISE.format(name=reviewer.name, said=said))


def _told_more(part: Part, messages: Sequence[Any], text: str) -> Part:
    """What a part is asked: all that was said, and this."""
    told, block = [*messages], {"type": "text", "text": text}
    last = msgspec.json.decode(msgspec.json.encode(told[-1])) if told else {}
    if last.get("role") == "user":  # two in a row are too much for many a chat template
        told[-1] = {**last, "content": [*blocks_of(last.get("content")), block]}
    else:
        told.append({"role": "user", "content": [block]})
    return replace(part, request=plans.followed(part.request, told))


def _text(conversation: Conversation) -> str:
    texts = [one.get("text", "") for one in conversation.said if one.get("type") == "text"]
    return "\n".join(texts)[:MAX_SAID_CHARS]


@dataclass(slots=True)
class _Member:
    """An agent that works beside others."""

    conversation: Conversation
    usages: Usages
    failure: str = ""
    error: Exception | None = None

    async def work(self) -> None:
        """Say all of it to nobody."""
        try:
            async with aclosing(_spoken(self.conversation)) as blocks:
                async for _ in blocks:
                    pass
        except Exception as error:  # whatever it is, the others go on
            self.error, self.failure = error, _why(error)


async def _fanned_out(plan: Plan, asking: Asking, weaver: Weaver, first: Conversation) -> Blocks:
    """All work at once, unseen but for their tools; then one answers with what they found."""
    yield weaver.begin(asking.request_id.replace("req_", "msg_"))
    heard: asyncio.Queue[Result] = asyncio.Queue()
    members = [_member(part, asking, heard, weaver.ids) for part in plan.parts]
    async with aclosing(_seen(members, heard)) as results:
        async for result in results:
            yield (
                sse.PING
                if result is None
                else weaver.use(result.use)
                + weaver.result(result.use, result.text, is_error=result.is_error)
            )
    for one in members:
        weaver.usages.join(one.usages)
        if one.failure:
            yield weaver.text(f"({one.conversation.part.name} failed: {one.failure})")
    found = [one.conversation for one in members if not one.failure]
    if not found:
        raise _failure_of_all(members)
    answer = Conversation(_answering(plan, first, found), asking, weaver)
    yield weaver.text(f"[{answer.part.name}]")
    async with aclosing(_spoken(answer)) as blocks:
        async for block in blocks:
            yield block
    yield weaver.end(answer.ending)


def _failure_of_all(members: Sequence[_Member]) -> Exception:
    """The one that all had, which says what to do about it; else that there were several."""
    failures = [one.error for one in members if one.error is not None]
    if len({errors.words_of(one) for one in failures}) == 1:
        return failures[0]
    return UpstreamError("All agents of the crew have failed.")


def _member(part: Part, asking: Asking, heard: asyncio.Queue[Result], ids: set[str]) -> _Member:
    weaver = Weaver(asking.manner, part.request.model)
    weaver.ids = ids  # an upstream that counts from one does so for each of them
    conversation = Conversation(replace(part, has_client_tools=False), asking, weaver)
    conversation.heard = heard.put_nowait
    return _Member(conversation, weaver.usages)


async def _seen(
    members: Sequence[_Member], heard: asyncio.Queue[Result]
) -> AsyncGenerator[Result | None, None]:
    """What their tools gave, as it comes, until all have ended; None for a while without any."""
    working = asyncio.gather(*[one.work() for one in members])
    hearing = asyncio.ensure_future(heard.get())
    try:
        while not working.done() or hearing.done():
            both: set[asyncio.Future[Any]] = {working, hearing}
            await asyncio.wait(both, timeout=settings.PING_S, return_when=asyncio.FIRST_COMPLETED)
            if hearing.done():
                yield hearing.result()
                hearing = asyncio.ensure_future(heard.get())
                await asyncio.sleep(0)  # so that it has what is there already
            elif not working.done():
                yield None
    finally:
        hearing.cancel()
        working.cancel()
        await asyncio.gather(working, hearing, return_exceptions=True)


def _answering(plan: Plan, first: Conversation, found: Sequence[Conversation]) -> Part:
    """What the one who answers is asked: the client's request, and what the others say to it."""
    last = plan.synthesizer or plan.parts[0]
    said = "\n\n".join(f"## {one.part.name}\n{_text(one)}" for one in found)
    messages = plans.messages_of(first.part.request)
    return _told_more(last, messages, _SYNTHESISE.format(said=said))
