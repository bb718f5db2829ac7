"""Round trips of tool calls, one at a time and several at once."""

import asyncio
import json
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from bench import proc
from bench.client import Client, connect

WARM = 20
AT_ONCE = 4  # what a connector takes unless it says another
ANSWER_S = 30.0


class WrongAnswerError(Exception):
    """A call did not come back as it should; its time would say nothing."""


def request(port: int, key: str, tool: str, word: str) -> bytes:
    """The bytes of a POST /api/mcp/execute."""
    body = json.dumps({"server": "effects", "tool": tool, "arguments": {"word": word}}).encode()
    return (
        b"POST /api/mcp/execute HTTP/1.1\r\nhost: 127.0.0.1:%d\r\nauthorization: Bearer %s\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    ) % (port, key.encode(), len(body), body)


async def run(client: Client, port: int, key: str, tool: str, word: str) -> float:
    """How long one call took, in seconds."""
    async with asyncio.timeout(ANSWER_S):
        answer = await client.ask(request(port, key, tool, word))
    told: dict[str, Any] = json.loads(answer.body)
    if answer.status != 200 or told["result"]["content"][0]["text"] != word:
        raise WrongAnswerError(f"{answer.status}: {told}")
    return answer.total_s


async def settle(port: int, key: str, count: int) -> None:
    """Run calls that nobody measures."""
    client = await connect(port)
    for number in range(count):
        await run(client, port, key, "look", f"s{number}")
    client.close()


async def measure(
    port: int, key: str, gateways: Sequence[int], connector: int, *, count: int
) -> dict[str, float]:
    """All figures of a machine whose server is `effects`."""
    client = await connect(port)
    figures: dict[str, float] = {}
    for tool in ("look", "leave"):
        took = [await run(client, port, key, tool, f"w{n}") for n in range(WARM + count)]
        figures |= named(tool, took[WARM:])
    client.close()
    before = [sum(map(proc.cpu_s, gateways)), proc.own_cpu_s(connector)]
    began = perf_counter()
    took = await several(port, key, count)
    seconds = perf_counter() - began
    spent = [sum(map(proc.cpu_s, gateways)) - before[0], proc.own_cpu_s(connector) - before[1]]
    figures |= named("four", took)
    figures["four.calls_s"] = len(took) / seconds
    figures["four.gateway_ms"], figures["four.connector_ms"] = (
        one / len(took) * 1000 for one in spent
    )
    return figures


async def several(port: int, key: str, count: int) -> list[float]:
    """So many calls, AT_ONCE at a time."""

    async def one_by_one(number: int) -> list[float]:
        client = await connect(port)
        took = [
            await run(client, port, key, "look", f"w{number}-{n}") for n in range(count // AT_ONCE)
        ]
        client.close()
        return took

    parts = await asyncio.gather(*map(one_by_one, range(AT_ONCE)))
    return [took for part in parts for took in part]


def named(name: str, took: Sequence[float]) -> dict[str, float]:
    """The middle and the end of what was measured."""
    found = sorted(took)
    return {
        f"{name}.p50_ms": found[len(found) // 2] * 1000,
        f"{name}.p99_ms": found[min(int(len(found) * 0.99), len(found) - 1)] * 1000,
    }
