"""The built-in upstream: it obeys words in a message, so all can be tried without a model."""

import asyncio
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from proxy.adapters.demo_scene import (
    TOKEN_CHARS,
    Call,
    Scene,
    count_tokens,
    object_at,
    read,
    safeguard_types,
)
from proxy.wire import faults
from proxy.wire.signature import Signer
from proxy.wire.stream import Emitter

__all__ = ["Failure", "answer", "count_tokens", "new_id"]

# Bounds keep a typing mistake from costing hours or gigabytes.
MAX_CHUNKS = 100_000
MAX_SILENCE_S = 600.0
MAX_TURNS = 1_000
MAX_CALLS = 100

PIECE_CHARS = 24  # about the size of a real model's deltas
FAIR_CHUNKS = 100  # after so many, other requests get their turn: nothing else here waits
RETRY_AFTER_S = 2  # long enough to be seen, short enough to wait for
SIGNER = Signer.of("demo")  # what the demo thinks stands in this file, so its key is no secret

KINDS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(kw_only=True, eq=False)  # not frozen: Python writes to an exception that it carries
class Failure(Exception):  # noqa: N818 - it is what was asked for, no error of ours
    """An HTTP error that the request asked for, instead of a stream."""

    status: int
    type: str
    message: str
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Think:
    """One block of thinking; empty where the request wants it kept back."""

    text: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Break:
    """An error in mid-stream."""

    message: str


@dataclass(frozen=True, slots=True)
class End:
    """Why the answer ends."""

    stop_reason: str
    delta: dict[str, Any] | None = None


Step = str | Think | Call | Pause | Break | End  # a string is one delta of text
Steps = Iterator[Step]

_WORD = re.compile(r"demo:(\w+)[ \t]*")
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,3})?")
_CALL = re.compile(r"demo:call[ \t]+([^\s{]+)[ \t]*")
_PIECE = re.compile(rf".{{1,{PIECE_CHARS}}}(?=\s|\Z)|.{{1,{PIECE_CHARS}}}", re.DOTALL)


def new_id(prefix: str) -> str:
    """An id that no message has had before: clients lose a tool call whose id they have seen."""
    return prefix + uuid.uuid4().hex[:24]


async def answer(
    body: dict[str, Any],
    *,
    signer: Signer = SIGNER,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    new_id: Callable[[str], str] = new_id,
) -> AsyncGenerator[bytes, None]:
    """The events of the answer to `body`. Raises Failure before the first one."""
    steps = _plan(body)
    asked = {"input_tokens": count_tokens(body)}
    stream = Emitter(message_id=new_id("msg_"), model=body["model"], usage=asked, signer=signer)
    yield stream.start()
    yield stream.ping()
    said, end = 0, End("end_turn")
    for step in steps:
        if isinstance(step, Pause):
            await sleep(step.seconds)
        elif isinstance(step, Break):
            yield stream.error("api_error", step.message)
            return
        elif isinstance(step, End):
            end = step
        else:
            said += _length(step)
            for events in _told(stream, step, new_id):
                yield events
    usage = {"output_tokens": -(-said // TOKEN_CHARS)}
    extra = dict(end.delta or {})
    if asked_for := safeguard_types(body):
        extra["safeguard_results"] = faults.no_verdicts(asked_for)
    yield stream.finish(end.stop_reason, usage, extra_delta=extra)


def _told(
    stream: Emitter, step: str | Think | Call, new_id: Callable[[str], str]
) -> Iterator[bytes]:
    match step:
        case str():
            yield stream.text(step)
        case Think():
            for piece in _pieces(step.text):
                yield stream.thinking(piece)
            yield stream.signature()
        case Call():
            yield stream.tool_use(new_id("toolu_"), step.name)
            for piece in _pieces(step.arguments):
                yield stream.tool_input(piece)


def _length(step: str | Think | Call) -> int:
    match step:
        case str():
            return len(step)
        case Think():
            return len(step.text)
        case Call():
            return len(step.name) + len(step.arguments)


def _plan(body: dict[str, Any]) -> Steps:
    """The steps of the answer to `body`. Raises Failure at once, not when the first is taken."""
    if body["max_tokens"] == 0:
        return iter([End("max_tokens")])
    scene = read(body, word=_WORD, help=HELP)
    thinking: list[Step] = []
    for word in _WORD.finditer(scene.asked):
        if word[1] == "thinking":
            thinking = [Think(_thoughts(scene))]
        elif word[1] in WORDS and (word[1] == "loop" or not scene.results):
            return chain(thinking, WORDS[word[1]](scene, scene.asked[word.end() :]))
    return chain(thinking, _say(scene.summary) if scene.results else _introduce(scene))


def _tools(scene: Scene, rest: str) -> Steps:
    return _ask(scene, "I call two tools at once.", most=2)


def _loop(scene: Scene, rest: str) -> Steps:
    turns, done = int(_number(rest, default=3, most=MAX_TURNS)), len(scene.results)
    if done >= turns:
        return _say(scene.summary if done else "No turn was asked for.")
    return _ask(scene, f"Turn {done + 1} of {turns}.", most=1)


def _ask(scene: Scene, text: str, *, most: int) -> Steps:
    calls = scene.harmless(most)
    if not calls and scene.tools:
        return _say("The request offers no tool that I would call unasked. Try demo:call.")
    if not calls:
        return _say("The request offers no tools.")
    return chain(_say(text), calls, [End("tool_use")])


def _call(scene: Scene, rest: str) -> Steps:
    calls: list[Step] = []
    for found in islice(_CALL.finditer(scene.asked), MAX_CALLS):
        arguments = object_at(scene.asked, found.end())
        if arguments is None:
            return _say("What follows demo:call and the name of the tool is not a JSON object.")
        calls.append(Call(found[1], arguments))
    if not calls:
        return _say('Write it like this: demo:call NAME {"key": "value"}')
    return iter([*calls, End("tool_use")])


def _long(scene: Scene, rest: str) -> Steps:
    for number in range(1, int(_number(rest, default=100, most=MAX_CHUNKS)) + 1):
        yield f"{number} "
        if number % FAIR_CHUNKS == 0:
            yield Pause(0)


def _slow(scene: Scene, rest: str) -> Steps:
    seconds = _number(rest, default=5, most=MAX_SILENCE_S)
    before = _say(f"Now {seconds:g} seconds of silence. ")
    return chain(before, [Pause(seconds)], _say("It is over."))


def _error(scene: Scene, rest: str) -> Steps:
    status = int(_number(rest, default=500, most=1000))
    if not 400 <= status <= 599:
        return _say("An error has a status from 400 to 599.")
    raise Failure(
        status=status,
        type=KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error"),
        message=f"The demo upstream was asked to answer {status}.",
        retry_after=RETRY_AFTER_S if status == 429 else None,
    )


def _break(scene: Scene, rest: str) -> Steps:
    broken = Break("The demo upstream was asked to break off.")
    return chain(_say("This answer will not be whole"), [broken])


def _refusal(scene: Scene, rest: str) -> Steps:
    details = {"type": "refusal", "category": None, "explanation": "The demo was asked to refuse."}
    return chain(_say("I was asked to refuse."), [End("refusal", {"stop_details": details})])


def _max_tokens(scene: Scene, rest: str) -> Steps:
    return chain(_say("This sentence was to be longer, but"), [End("max_tokens")])


WORDS: dict[str, Callable[[Scene, str], Steps]] = {
    "tools": _tools,
    "call": _call,
    "loop": _loop,
    "long": _long,
    "slow": _slow,
    "error": _error,
    "break": _break,
    "refusal": _refusal,
    "max_tokens": _max_tokens,
}

HELP = """\
Put one of these words into a message:
- demo:thinking - think first; goes with the other words
- demo:tools - two tool calls at once, from the tools that the client offers
- demo:call NAME {"key": "value"} - exactly this tool call; several lines make several calls
- demo:loop 3 - so many turns with one tool call each
- demo:long 1000 - so many pieces of text
- demo:slow 5 - so many seconds of silence in the middle
- demo:error 400 - this HTTP status instead of an answer (429 and 5xx: clients try again)
- demo:break - an error in the middle of the answer (clients try again)
- demo:refusal - an answer that ends in a refusal
- demo:max_tokens - an answer that is cut short"""


def _introduce(scene: Scene) -> Steps:
    asked = f'You asked: "{scene.echo}"' if scene.echo else "I found no text in your message."
    opening = "This is the demo upstream of Ops-Center. No model is answering."
    return _say(f"{opening}\n\n{asked}\n\n{HELP}")


def _thoughts(scene: Scene) -> str:
    if scene.keeps_thinking_back:
        return ""
    return f"A demo does not think, but it can count: {len(scene.asked)} characters were asked."


def _say(text: str) -> Steps:
    return iter(_pieces(text))


def _pieces(text: str) -> list[str]:
    """The text as a model would send it, bit by bit."""
    return _PIECE.findall(text)


def _number(rest: str, *, default: float, most: float) -> float:
    found = _NUMBER.match(rest)
    return min(float(found[0]), most) if found else default
