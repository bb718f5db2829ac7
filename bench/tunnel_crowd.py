"""Many machines at one process: what each costs while nothing happens, and calls among them.

They speak the tunnel's frames on real sockets; only the programs behind them are spared.
"""

import asyncio
import json
import uuid
from collections.abc import Sequence
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from bench import proc
from bench import tunnel_calls as calls
from bench.client import connect as connect_http
from tests.real.machine import Owner
from tests.real.tunnel import Stack

EACH = 32  # of one user at once: the gateway's bound
AT_ONCE = 32  # that open a session at the same time
OPEN_S = 60.0
SETTLE_S = 3.0
IDLE_S = 25.0  # holds a ping of each and two notes of who is there
CALLS = 200
TOOL = {
    "name": "look",
    "description": "Say a word back, as a tool's description of usual length says what it is for.",
    "inputSchema": {
        "type": "object",
        "properties": {"word": {"type": "string"}, "ms": {"type": "number"}},
        "required": ["word"],
    },
    "annotations": {"readOnlyHint": True},
}
ROWS = {
    "machines": "machines by WebSocket",
    "kib": "memory that each takes, KiB",
    "mib": "the process with all of them, resident MiB",
    "cpu_percent": "processor time while they are idle, % of a core",
    "open_ms": "opening a session and announcing a tool, 32 at a time: p50 ms",
    "call.p50_ms": "a call to one of them, one at a time: p50 ms",
    "call.p99_ms": "… p99 ms",
}


def users(machines: int) -> int:
    """Whom so many belong to."""
    return -(-machines // EACH)


async def measure(stack: Stack, owners: Sequence[Owner], count: int) -> dict[str, float]:
    """Connect them, leave them alone, call some, and let them go."""
    worker = stack.workers[0]
    pid = worker.program.pid
    port = int(worker.url.rpartition(":")[2])
    before_kib, _ = proc.memory(pid)
    gate = asyncio.Semaphore(AT_ONCE)
    keys = [owners[number // EACH].key for number in range(count)]
    async with asyncio.TaskGroup() as group:
        opening = [group.create_task(_opened(port, key, gate)) for key in keys]
    opened = [task.result() for task in opening]
    serving = [asyncio.create_task(_serve(socket)) for socket, _ in opened]
    await asyncio.sleep(SETTLE_S)
    cpu_s = proc.cpu_s(pid)
    await asyncio.sleep(IDLE_S)
    cpu_s = proc.cpu_s(pid) - cpu_s
    after_kib, _ = proc.memory(pid)
    client = await connect_http(port)
    took = [
        await calls.run(client, port, keys[n * EACH % count], "look", f"w{n}") for n in range(CALLS)
    ]
    client.close()
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
    await asyncio.gather(*(socket.close() for socket, _ in opened))
    return {
        "machines": count,
        "kib": (after_kib - before_kib) / count,
        "mib": after_kib / 1024,
        "cpu_percent": cpu_s / IDLE_S * 100,
        "open_ms": sorted(took_s for _, took_s in opened)[count // 2] * 1000,
        **calls.named("call", took),
    }


async def _opened(port: int, key: str, gate: asyncio.Semaphore) -> tuple[ClientConnection, float]:
    """A machine that is there, and how long it took, in seconds."""
    loop = asyncio.get_running_loop()
    hello = {"type": "hello", "v": 1, "instance": str(uuid.uuid4()), "name": "crowd"}
    server = {"name": "effects", "transport": "stdio", "state": "ready", "tools": [TOOL]}
    async with gate, asyncio.timeout(OPEN_S):
        began = loop.time()
        socket = await connect(
            f"ws://127.0.0.1:{port}/api/mcp/ws/me",
            additional_headers={"Authorization": f"Bearer {key}"},
            compression=None,
            proxy=None,
            ping_interval=None,
        )
        for frame in (
            hello,
            {"type": "server", "server": server},
            {"type": "ready", "servers": ["effects"]},
            {"type": "renew", "calls": []},
        ):
            await socket.send(json.dumps(frame))
        while json.loads(await socket.recv())["type"] != "renewed":
            pass
        return socket, loop.time() - began


async def _serve(socket: ClientConnection) -> None:
    """Run what comes, as a connector would that has nothing else to do."""
    words: dict[str, str] = {}
    async for text in socket:
        frame: dict[str, Any] = json.loads(text)
        held = {"id": frame.get("id"), "fence": frame.get("fence")}
        if frame["type"] == "call":
            words[frame["id"]] = frame["params"]["arguments"]["word"]
            await socket.send(json.dumps({"type": "start", **held}))
        elif frame["type"] == "started":
            said = {"content": [{"type": "text", "text": words.pop(frame["id"])}]}
            done = {"type": "result", **held, "outcome": "done", "result": said}
            await socket.send(json.dumps(done))
