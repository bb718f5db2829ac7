"""Whatever upstream and tools do, the client gets one legal answer and every call one result."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.principal import Principal
from proxy.agents import Bounds
from proxy.answer import Answer, UpstreamError
from proxy.plans import Plan
from proxy.toolbox import Result, Tool, Toolbox
from proxy.toolsets import Server
from proxy.turns import Turns
from proxy.wire import message, sse
from proxy.wire.body import MessagesRequest
from proxy.wire.stream import event
from proxy.wire.weave import Manner, Named, Use
from tests.legality import check_stream, history_fault, pairs_fault
from tests.turns import Turn, usage

CALLER = Principal(organization_id=UUID(int=1), user_id=1, key_id="k", scopes=frozenset())
SERVER = Server(name="files", url="tunnel://files", served="files")
REQUEST = MessagesRequest.parse(
    b'{"model":"m","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"Go."}]}'
)
BOUNDS = Bounds(turns=4, calls=5)
_ids = count()

texts = st.builds(lambda text: {"type": "text", "text": text}, st.text(min_size=1, max_size=8))
thoughts = st.builds(
    lambda text: {"type": "thinking", "thinking": text, "signature": "s"}, st.text(max_size=5)
)


def calls(name: str) -> st.SearchStrategy[dict[str, Any]]:
    given_ = st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
    return st.builds(
        lambda value: {"type": "tool_use", "id": f"u{next(_ids)}", "name": name, "input": value},
        given_,
    )


blocks = st.lists(
    st.one_of(texts, thoughts, calls("files_read"), calls("files_read"), calls("edit")),
    min_size=1,
    max_size=4,
)
REASONS = ["tool_use", "tool_use", "tool_use", "end_turn", "max_tokens", "pause_turn", "refusal"]


@dataclass(frozen=True, slots=True)
class Said:
    """What the upstream does in one turn."""

    turn: Turn
    broken_json: bool
    ends: str  # "": whole; else how it fails: "cut", "raises" or "refuses"


turns = st.builds(
    lambda content, reason, tokens, broken, ends: Said(
        Turn(blocks=tuple(content), stop_reason=reason, usage=usage(input_tokens=tokens)),
        broken,
        ends,
    ),
    blocks,
    st.sampled_from(REASONS),
    st.integers(0, 1000),
    st.booleans(),
    st.sampled_from(["", "", "", "", "", "cut", "raises", "refuses"]),
)


class Stream:
    """An upstream's stream, in blocks as a relayed one comes."""

    answer = Answer(status=200)
    cost_nano = 7

    def __init__(self, said: Said, sizes: Sequence[int]) -> None:
        events = [json.dumps(one).encode() for one in said.turn.events("other")]
        if said.broken_json:
            events = [one.replace(b'"partial_json": "{', b'"partial_json": "{{') for one in events]
        kinds = [json.loads(one)["type"] for one in events]
        whole = [sse.encode(kind, one) for kind, one in zip(kinds, events, strict=True)]
        if said.ends == "cut":
            told = {"error": {"type": "api_error", "message": "gone"}}
            whole = [*whole[: len(whole) // 2], event("error", told)]
        self._blocks = []
        for size in sizes:
            self._blocks.append(b"".join(whole[:size]))
            whole = whole[size:]
        self._blocks = [one for one in [*self._blocks, b"".join(whole)] if one]
        self.closed = False

    def __aiter__(self) -> "Stream":
        return self

    async def __anext__(self) -> bytes:
        if not self._blocks or self.closed:
            raise StopAsyncIteration
        return self._blocks.pop(0)

    async def aclose(self) -> None:
        self.closed = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Box(Toolbox):
    """Tools that answer at once, or fail."""

    ran: list[str] = field(default_factory=list)

    async def run(self, principal: Principal, use: Use, request_id: str) -> Result:
        self.ran.append(use.id)
        await asyncio.sleep(0)
        return Result(use=use, text=f"result of {use.id}", is_error=use.given is None)


def box() -> Box:
    shown = {"name": "files_read", "description": "", "input_schema": {"type": "object"}}
    named = Named(server="files", tool="read")
    return Box(tools={"files_read": Tool(named=named, server=SERVER, shown=shown)})


async def answer(
    script: Sequence[Said], sizes: Sequence[int], manner: Manner
) -> tuple[list[dict[str, Any]], list[MessagesRequest], Box]:
    """The events, what the upstream was asked after the first time, and the tools."""
    asked: list[MessagesRequest] = []
    streams = [Stream(script[0], sizes)]

    async def ask(request: MessagesRequest) -> Any:
        asked.append(request)
        said = script[len(asked) % len(script)]
        if said.ends == "raises":
            raise UpstreamError("The upstream is away.")
        if said.ends == "refuses":
            told = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}
            return Answer(status=429, body=json.dumps(told).encode())
        streams.append(Stream(said, sizes))
        return streams[-1]

    tools = box()
    plan = Plan(request=REQUEST, model="m", toolbox=tools, manner=manner, headers=[], bounds=BOUNDS)
    first: Any = streams[0]
    told = Turns(plan, CALLER, UUID(int=5), first, ask)
    events = [json.loads(one.data) async for block in told for one in sse.events(block)]
    await told.aclose()
    assert all(stream.closed for stream in streams)
    return events, asked, tools


@settings(max_examples=300, deadline=None)
@given(
    script=st.lists(turns, min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 5), max_size=12),
    streams=st.booleans(),
)
def test_it_gives_one_legal_answer_whatever_happens(
    script: list[Said], sizes: list[int], streams: bool
) -> None:
    manner = Manner(streams_uses=streams, says_lines=not streams, pauses=streams)
    events, asked, tools = asyncio.run(answer(script, sizes, manner))
    check_stream(events)
    assert len(asked) < BOUNDS.turns
    assert len(tools.ran) == len(set(tools.ran)) <= BOUNDS.calls
    histories = [json.loads(request.body.raw)["messages"] for request in asked]
    # A call of the client's ends the answer, so it never stands in what is asked.
    assert [history_fault(one) for one in histories] == [None] * len(asked)
    if events[-1]["type"] == "error":
        return
    try:
        whole = message.assemble(events)
    except message.BrokenStreamError as error:  # the client's own call is as the model said it
        assert "JSON" in str(error)
        assert script[len(asked) % len(script)].broken_json
        assert "edit" in [
            one["content_block"].get("name") for one in events if "content_block" in one
        ]
        return
    assert pairs_fault(whole["content"]) is None
    answered = [script[number % len(script)].turn for number in range(len(asked) + 1)]
    assert whole["usage"]["input_tokens"] == sum(one.usage["input_tokens"] for one in answered)
    assert whole["model"] == "m"
    assert {one["type"] for one in whole["content"]} <= {
        "text",
        "thinking",
        "tool_use",
        "mcp_tool_use",
        "mcp_tool_result",
    }
