"""A machine under test: it speaks the tunnel's frames on sockets and checks what it is sent."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import websockets
from websockets.asyncio.client import ClientConnection, connect

from mcp import frames

F = TypeVar("F", bound=frames.Frame)

WITHIN_S = 15  # whatever a test waits for has happened by then, on a loaded machine too
READ = {
    "name": "read",
    "description": "Read a file.",
    "inputSchema": {"type": "object", "properties": {"path": {"type": "string"}}},
    "annotations": {"readOnlyHint": True},
}
WRITE = {"name": "write", "description": "Write a file.", "inputSchema": {"type": "object"}}


def files(*tools: dict[str, Any], name: str = "files", **more: Any) -> dict[str, Any]:
    """The announcement of a server."""
    server = {"name": name, "transport": "stdio", "state": "ready", **more}
    return {"type": "server", "server": server | {"tools": list(tools or (READ, WRITE))}}


def done(call: frames.Call, text: str = "done", **more: Any) -> dict[str, Any]:
    """The result of a call."""
    result = {"content": [{"type": "text", "text": text}], "isError": False}
    return {
        "type": "result",
        "id": str(call.id),
        "fence": call.fence,
        "outcome": "done",
        "result": result,
        **more,
    }


def about(kind: str, call: frames.Call, **more: Any) -> dict[str, Any]:
    """A frame about a call."""
    return {"type": kind, "id": str(call.id), "fence": call.fence, **more}


def understood(text: str | bytes) -> frames.FromGateway:
    """What the gateway sent, which must be written as docs/tunnel.md says."""
    raw = text if isinstance(text, bytes) else text.encode()
    frame = frames.from_gateway(raw)
    assert frames.encode(frame) == raw
    return frame


@dataclass
class Machine:
    """One WebSocket to the gateway."""

    socket: ClientConnection
    instance: uuid.UUID
    skipped: list[frames.FromGateway] = field(default_factory=list)

    async def say(self, frame: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(frame))

    async def hear(self) -> frames.FromGateway:
        """The next frame."""
        return understood(await asyncio.wait_for(self.socket.recv(), WITHIN_S))

    async def hear_a(self, kind: type[F]) -> F:
        """The next frame, which is one of these."""
        frame = await self.hear()
        assert isinstance(frame, kind), frame
        return frame

    async def hello(self, **more: Any) -> frames.Welcome:
        """Open a session."""
        await self.say(
            {"type": "hello", "v": 1, "instance": str(self.instance), "name": "laptop"} | more
        )
        return await self.hear_a(frames.Welcome)

    async def announce(self, *servers: dict[str, Any]) -> None:
        """Say what servers are here, and return when the gateway knows."""
        found = servers or (files(),)
        for server in found:
            await self.say(server)
        await self.say({"type": "ready", "servers": [one["server"]["name"] for one in found]})
        await self.settled()

    async def settled(self) -> None:
        """Return when everything said before was handled."""
        await self.say({"type": "renew", "calls": []})
        await self.hear_a(frames.Renewed)

    async def begin(self) -> frames.Call:
        """Take the next call and begin it."""
        call = await self.hear_a(frames.Call)
        await self.say(about("start", call))
        started = await self.hear_a(frames.Started)
        assert (started.id, started.fence) == (call.id, call.fence)
        return call

    async def finish(self, call: frames.Call, text: str = "done", **more: Any) -> str:
        """Hand in a result, and say what the gateway said to it."""
        await self.say(done(call, text, **more))
        return (await self.hear_a(frames.Ack)).verdict

    async def closed(self) -> tuple[int | None, str]:
        """The close code, once the gateway has closed. Frames before it are dropped."""
        with_bye: frames.FromGateway | None = None
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    with_bye = understood(await self.socket.recv())
        except websockets.ConnectionClosed:
            code = self.socket.close_code
        if isinstance(with_bye, frames.Bye):
            assert with_bye.code == code
        return code, self.socket.close_reason or ""


@asynccontextmanager
async def machine(
    url: str,
    key: str,
    *,
    user: object = "me",
    instance: uuid.UUID | None = None,
    headers: Mapping[str, str] = {},
) -> AsyncIterator[Machine]:
    """A machine that has dialled in and said nothing yet."""
    address = f"{url.replace('http', 'ws', 1)}/api/mcp/ws/{user}"
    shown = {"Authorization": f"Bearer {key}"} if key else {}
    async with connect(
        address,
        additional_headers={**shown, **headers},
        max_size=None,
        proxy=None,
        compression=None,
        close_timeout=2,
    ) as socket:
        yield Machine(socket=socket, instance=instance or uuid.uuid4())


@asynccontextmanager
async def ready(url: str, key: str, **more: Any) -> AsyncIterator[Machine]:
    """A machine that has announced its servers."""
    async with machine(url, key, **more) as dialled:
        await dialled.hello()
        await dialled.announce()
        yield dialled
