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
from proxy.agents import Bounds, Kind
from proxy.answer import Answer, UpstreamError
from proxy.plans import Part, Plan
from proxy.story import Story
from proxy.toolbox import Result, Tool, Toolbox
from proxy.toolsets import Server
from proxy.turns import Asking
from proxy.wire import message, sse
from proxy.wire.body import MessagesRequest
from proxy.wire.stream import event
from proxy.wire.turn import Manner, Named, Use
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
    step = UUID(int=7)

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

    async def run(
        self, principal: Principal, use: Use, request_id: str, step: UUID | None = None
    ) -> Result:
        self.ran.append(use.id)
        await asyncio.sleep(0)
        return Result(use=use, text=f"result of {use.id}", is_error=use.given is None)


def box() -> Box:
    shown = {"name": "files_read", "description": "", "input_schema": {"type": "object"}}
    named = Named(server="files", tool="read")
    return Box(tools={"files_read": Tool(named=named, server=SERVER, shown=shown)})


async def act() -> None:
    """Nobody else gives this answer: whatever it does may be done."""


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it all."""

    events: list[dict[str, Any]]
    asked: list[MessagesRequest]  # of the upstream
    ran: list[str]
    refusal: bool


async def play(
    script: Sequence[Said], sizes: Sequence[int], manner: Manner, kind: Kind, count: int
) -> Played:
    """The answer of an agent, or of a crew of so many."""
    asked: list[MessagesRequest] = []
    streams: list[Stream] = []

    async def ask(request: MessagesRequest, part: Part) -> Any:
        said = script[len(asked) % len(script)]
        asked.append(request)
        if said.ends == "raises":
            raise UpstreamError("The upstream is away.")
        if said.ends == "refuses":
            told = {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}
            return Answer(status=429, body=json.dumps(told).encode())
        streams.append(Stream(said, sizes))
        return streams[-1]

    boxes = [box() for _ in range(count)]
    parts = [
        Part(request=REQUEST, toolbox=one, bounds=BOUNDS, name=f"n{at}", has_client_tools=at == 0)
        for at, one in enumerate(boxes)
    ]
    plan = Plan(parts=parts, model="m", manner=manner, headers=[], kind=kind, rounds=2)
    told = Story(plan, Asking(caller=CALLER, request_id="req_5", manner=manner, ask=ask, act=act))
    events, refusal = [], False
    try:
        refusal = await told.begin() is not None
        if not refusal:
            events = [json.loads(one.data) async for block in told for one in sse.events(block)]
    except UpstreamError:
        refusal = True
    await told.aclose()
    assert all(stream.closed for stream in streams)
    return Played(events, asked, [one for each in boxes for one in each.ran], refusal)


@settings(max_examples=400, deadline=None)
@given(
    script=st.lists(turns, min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 5), max_size=12),
    streams=st.booleans(),
    crew=st.sampled_from([("single", 1), ("chain", 2), ("chain", 3), ("fan_out", 2)]),
)
def test_it_gives_one_legal_answer_whatever_happens(
    script: list[Said], sizes: list[int], streams: bool, crew: tuple[Kind, int]
) -> None:
    kind, count = crew
    manner = Manner(streams_uses=streams, says_lines=not streams, pauses=streams)
    played = asyncio.run(play(script, sizes, manner, kind, count))
    if played.refusal:
        assert (len(played.asked), played.events) == (1, [])
        return
    check_stream(played.events)
    histories = [json.loads(request.body.raw)["messages"] for request in played.asked]
    assert [history_fault(one) for one in histories] == [None] * len(histories)
    most = {"single": 1, "chain": 1 + 2 * 2 * (count - 1), "fan_out": count + 1}[kind]
    assert len(played.asked) <= most * BOUNDS.turns
    assert len(played.ran) <= most * BOUNDS.calls
    if played.events[-1]["type"] == "error":
        return
    names = [one["content_block"].get("name") for one in played.events if "content_block" in one]
    try:
        whole = message.assemble(played.events)
    except message.BrokenStreamError as error:  # the client's own call is as the model said it
        assert "JSON" in str(error)
        assert "edit" in names
        return
    assert pairs_fault(whole["content"]) is None
    assert whole["model"] == "m"
    assert {one["type"] for one in whole["content"]} <= {
        "text",
        "thinking",
        "tool_use",
        "mcp_tool_use",
        "mcp_tool_result",
    }
    if all(not said.ends for said in script):
        answered = [script[at % len(script)].turn for at in range(len(played.asked))]
        assert whole["usage"]["input_tokens"] == sum(one.usage["input_tokens"] for one in answered)
