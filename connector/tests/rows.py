"""The queue of the scripted gateway: calls, who holds them, and what is answered to each frame."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
from starlette.websockets import WebSocket

from opscenter_connector import frames

WITHIN_S = 20.0
RENEW_MS = 200


@dataclass
class Call:
    """One row of its queue."""

    id: str
    server: str
    tool: str
    arguments: dict[str, Any]
    has_effects: bool
    remaining_ms: int
    fence: int = 0
    state: str = "queued"  # queued, leased, approval, running, ended
    asked: list[frames.Ask] = field(default_factory=list)
    approval: frames.Approved | None = None
    cancel: bool = False
    result: frames.Result | None = None
    progress: list[frames.Progress] = field(default_factory=list)

    @property
    def text(self) -> str:
        assert self.result is not None
        assert self.result.result is not None
        return str(self.result.result["content"][0]["text"])


@dataclass
class Faults:
    """What is to go wrong."""

    upgrade: int = 0  # status with which a WebSocket is refused
    by_proxy: bool = True  # and by whom
    swallow_welcome: bool = False
    cut_after: str = ""  # type of the frame after which a WebSocket is cut without an answer
    cut_always: bool = False
    freeze: bool = False  # read nothing any more, not even pings
    greeting: str = ""  # said before the welcome
    poll: int = 0  # status of polls
    mute: set[str] = field(default_factory=set)  # types that get no answer
    once: bool = False  # a second `start` of a running call is denied
    deny: str = ""  # reason with which `start` is denied
    close: int = 0  # code with which the next WebSocket is closed at once


APPROVAL_MS = 300_000


class Queue:
    """What it has heard, and what it hands out."""

    def __init__(self) -> None:
        self.faults = Faults()
        self.heard: list[frames.FromConnector] = []
        self.calls: dict[str, Call] = {}
        self.servers: dict[str, frames.Announced] = {}
        self.ready: tuple[str, ...] = ()
        self.max_in_flight = 16
        self.approval_ms = APPROVAL_MS
        self.epochs: Counter[str] = Counter()
        self.news = asyncio.Condition()
        self.sockets: set[WebSocket] = set()
        self.news_of_questions: list[frames.FromGateway] = []  # said once
        self._notifying: set[asyncio.Task[None]] = set()

    # For tests.

    def submit(
        self, tool: str, *, server: str = "echo", effects: bool = True, **arguments: Any
    ) -> Call:
        remaining_ms = arguments.pop("remaining_ms", 30_000)
        call = Call(str(uuid.uuid4()), server, tool, arguments, effects, remaining_ms)
        self.calls[call.id] = call
        self.changed()
        return call

    async def until(self, holds: Callable[[], Any]) -> Any:
        with anyio.fail_after(WITHIN_S):
            async with self.news:
                return await self.news.wait_for(holds)

    async def ended(self, call: Call) -> frames.Result:
        await self.until(lambda: call.result is not None)
        assert call.result is not None
        return call.result

    async def serving(self, name: str = "echo") -> frames.Announced:
        await self.until(lambda: name in self.servers and self.servers[name].state == "ready")
        return self.servers[name]

    def requeue(self, call: Call) -> None:
        """As when its lease is over."""
        call.state = "queued"
        self.changed()

    def cancel(self, call: Call) -> None:
        call.cancel = True
        self.changed()

    async def asked(self, call: Call, times: int = 1) -> frames.Ask:
        """The question, when it was asked so often."""
        await self.until(lambda: len(call.asked) >= times and call.state == "approval")
        return call.asked[-1]

    def approve(self, call: Call, digest: str = "", source: str = "web") -> None:
        """A person has; with another digest than was asked it lies."""
        digest = digest or call.asked[-1].digest
        call.approval = frames.Approved(digest=digest, source=source)
        self.settle(call, "approved")
        self.requeue(call)

    def settle(self, call: Call, state: str) -> None:
        """The question is open no more, and everybody hears of it."""
        call.state = "ended"
        digest = call.asked[-1].digest
        self.news_of_questions.append(frames.Settled(id=call.id, digest=digest, state=state))
        self.changed()

    async def cut(self) -> None:
        """Every WebSocket, without a word."""
        for socket_ in list(self.sockets):
            with suppress(RuntimeError):
                await socket_.close(1012)

    def count(self, kind: type) -> int:
        return sum(isinstance(frame, kind) for frame in self.heard)

    def changed(self) -> None:
        async def notify() -> None:
            async with self.news:
                self.news.notify_all()

        task = asyncio.create_task(notify())
        self._notifying.add(task)
        task.add_done_callback(self._notifying.discard)

    # What it says.

    def take(self, said: Any) -> list[frames.FromGateway]:
        frame = frames.from_connector(said)
        self.heard.append(frame)
        self.changed()
        kind = type(frame).__name__.lower()
        answer = getattr(self, f"_{kind}", None)
        return [] if answer is None or kind in self.faults.mute else answer(frame)

    def _hello(self, frame: frames.Hello) -> list[frames.FromGateway]:
        self.epochs[frame.instance] += 1
        return [
            frames.Welcome(
                v=1,
                connector="0193d0f2-1111-7cc0-9f6e-2b1d7a3c4e55",
                epoch=self.epochs[frame.instance],
                lease_ms=3 * RENEW_MS,
                renew_ms=RENEW_MS,
                max_in_flight=min(frame.max_in_flight, self.max_in_flight),
                max_frame_bytes=2 * 1024 * 1024,
                max_result_bytes=1024 * 1024,
            )
        ]

    def _server(self, frame: frames.Server) -> list[frames.FromGateway]:
        self.servers[frame.server.name] = frame.server
        return []

    def _ready(self, frame: frames.Ready) -> list[frames.FromGateway]:
        self.ready = frame.servers
        return []

    def _start(self, frame: frames.Start) -> list[frames.FromGateway]:
        call = self.calls.get(frame.id)
        granted = call is not None and call.fence == frame.fence
        startable = ("leased",) if self.faults.once else ("leased", "running")
        if call is None or not granted or call.state not in startable:
            return [frames.Denied(id=frame.id, fence=frame.fence, reason="it is not yours")]
        if self.faults.deny or call.cancel:
            call.state = "ended"
            reason = self.faults.deny or "it was cancelled"
            return [frames.Denied(id=frame.id, fence=frame.fence, reason=reason)]
        call.state = "running"
        return [frames.Started(id=frame.id, fence=frame.fence, remaining_ms=call.remaining_ms)]

    def _progress(self, frame: frames.Progress) -> list[frames.FromGateway]:
        self.calls[frame.id].progress.append(frame)
        return []

    def _result(self, frame: frames.Result) -> list[frames.FromGateway]:
        call = self.calls.get(frame.id)
        verdict = "unknown" if call is None else "conflict"
        if call is not None and call.result is not None:
            verdict = "duplicate" if frame == call.result else "conflict"
        elif call is not None and call.fence == frame.fence and call.state == "running":
            call.state, call.result, verdict = "ended", frame, "accepted"
        return [frames.Ack(id=frame.id, fence=frame.fence, verdict=verdict)]

    def _ask(self, frame: frames.Ask) -> list[frames.FromGateway]:
        call = self.calls[frame.id]
        may = ("leased", "approval") if call.has_effects else ("leased", "approval", "running")
        if call.fence != frame.fence or call.state not in may:
            return [frames.Denied(id=frame.id, fence=frame.fence, reason="it is not yours")]
        call.asked.append(frame)
        call.state = "approval"
        return [frames.Asked(id=frame.id, fence=frame.fence, remaining_ms=self.approval_ms)]

    def _decide(self, frame: frames.Decide) -> list[frames.FromGateway]:
        call = self.calls[frame.id]
        if call.state != "approval" or call.asked[-1].digest != frame.digest:
            return [frames.Settled(id=frame.id, digest=frame.digest, state="unknown")]
        if frame.approve:
            self.approve(call, source="terminal")
        else:
            self.settle(call, "refused")
        return []

    def _release(self, frame: frames.Release) -> list[frames.FromGateway]:
        call = self.calls[frame.id]
        held = call.state == "leased" or (call.state == "running" and not call.has_effects)
        if held and call.fence == frame.fence:
            call.state = "ended" if call.cancel else "released"
        return []

    def _renew(self, frame: frames.Renew) -> list[frames.FromGateway]:
        held = tuple(names for names in frame.calls if self._holds(*names))
        lost = tuple(names for names in frame.calls if names not in held)
        cancel = tuple(names for names in held if self.calls[names[0]].cancel)
        return [frames.Renewed(held=held, lost=lost, cancel=cancel)]

    def _holds(self, id_: str, fence: int) -> bool:
        call = self.calls.get(id_)
        return call is not None and call.fence == fence and call.state in ("leased", "running")

    def due(self) -> list[frames.FromGateway]:
        due, self.news_of_questions = self.news_of_questions, []
        for call in self.calls.values():
            if call.state == "queued" and call.server in self.ready:
                call.fence += 1
                begun = not (call.has_effects or call.approval or self.faults.deny)
                call.state = "running" if begun else "leased"
                due.append(
                    frames.Call(
                        id=call.id,
                        fence=call.fence,
                        server=call.server,
                        method="tools/call",
                        params={"name": call.tool, "arguments": call.arguments},
                        has_effects=call.has_effects,
                        remaining_ms=call.remaining_ms,
                        approval=call.approval,
                        begun=begun,
                    )
                )
            elif call.cancel and call.state == "running":
                due.append(frames.Cancel(id=call.id, fence=call.fence))
        return due

    def pending(self) -> bool:
        queued = (call.server for call in self.calls.values() if call.state == "queued")
        return bool(self.news_of_questions) or any(server in self.ready for server in queued)

    async def until_due(self, superseded: Callable[[], bool], told: set[str]) -> None:
        """Until there is something to say that is not in `told`."""

        def due() -> bool:
            stop = {call.id for call in self.calls.values() if call.cancel}
            stop = {id_ for id_ in stop - told if self.calls[id_].state == "running"}
            return superseded() or self.pending() or bool(stop)

        async with self.news:
            await self.news.wait_for(due)
