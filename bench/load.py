"""The load, in a process of its own: one scenario against one server, its figures as JSON."""

import argparse
import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter

import uvloop

from bench import bodies, client, proc

CONNECTIONS = 16
WARM_S = 1.0
TRIES = 10  # of each kind and connection, before anything is measured: what is filled once is full
HELD = 1000
RAMP_S = 5.0  # the held streams open evenly over this time
HELD_DEADLINE_S = (
    25.0  # ramp, ten seconds of stream and as much again as slack; the rest has failed
)
SAMPLE_S = 0.25
END_S = 10.0  # what a closed loop may take to bring its last requests home
CALM_S = 0.5
CALM_SHARE = 0.1  # of a core: below this a server has finished its clearing up
CALM_DEADLINE_S = 10.0

Figures = dict[str, float]
Good = Callable[[client.Answer], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Where the load goes."""

    port: int
    pid: int
    key: str
    stores: tuple[int, ...] = ()  # whose processor time is told apart

    def stores_s(self) -> float:
        """Processor time that the database and the cache have used so far."""
        return sum(map(proc.cpu_s, self.stores))

    def request(self, body: bytes) -> bytes:
        return client.request(body, port=self.port, key=self.key)


@dataclass(slots=True)
class Tally:
    """What was seen since the warm-up."""

    totals: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    failed: int = 0
    over: bool = False
    events: int = 0  # of held streams, of those too that did not come whole

    def clear(self) -> None:
        self.totals.clear()
        self.firsts.clear()
        self.failed = 0

    def see(self, answer: client.Answer, good: Good) -> None:
        if good(answer):
            self.totals.append(answer.total_s)
            self.firsts.append(answer.first_s)
        else:
            self.failed += 1


def percentile(values: list[float], share: float) -> float:
    """In milliseconds; nothing seen is endless."""
    ordered = sorted(values)
    if not ordered:
        return float("inf")
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def is_message(answer: client.Answer) -> bool:
    return answer.status == 200 and b'"end_turn"' in answer.body


def is_stream(deltas: int) -> Good:
    def good(answer: client.Answer) -> bool:
        seen = answer.body.count(b"event: content_block_delta")
        return answer.status == 200 and seen == deltas and b"event: message_stop" in answer.body

    return good


async def _ask_on(
    aim: Aim, lines: list[client.Client], request: bytes, tally: Tally, good: Good
) -> None:
    """One of the loops: the next request as soon as the last is answered."""
    line = await client.connect(aim.port)
    lines.append(line)
    while not tally.over:
        try:
            tally.see(await line.ask(request), good)
        except OSError:  # the server closed the connection: a failure, and the loop goes on
            tally.failed += 1
            await asyncio.sleep(WARM_S / 10)  # a server that is down must not make us spin
            with suppress(OSError):
                line = await client.connect(aim.port)
                lines.append(line)
    line.close()


async def closed_loop(aim: Aim, body: bytes, good: Good, *, seconds: float) -> Figures:
    """Sixteen requests at once, always; what happened between two readings of the clocks."""
    tally, lines = Tally(), list[client.Client]()
    request = aim.request(body)
    loops = [
        asyncio.create_task(_ask_on(aim, lines, request, tally, good)) for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(WARM_S)
    tally.clear()
    events = sum(line.events for line in lines)
    cpu_s, stores_s, started = proc.cpu_s(aim.pid), aim.stores_s(), perf_counter()
    await asyncio.sleep(seconds)
    took, used = perf_counter() - started, proc.cpu_s(aim.pid) - cpu_s
    stored_s = aim.stores_s() - stores_s
    events = sum(line.events for line in lines) - events
    tally.over = True
    figures = {
        "rps": len(tally.totals) / took,
        "p50_ms": percentile(tally.totals, 0.50),
        "p99_ms": percentile(tally.totals, 0.99),
        "ttft_p50_ms": percentile(tally.firsts, 0.50),
        "ttft_p99_ms": percentile(tally.firsts, 0.99),
        "cpu_ms": 1000 * used / max(1, len(tally.totals)),
        "stores_ms": 1000 * stored_s / max(1, len(tally.totals)),
        "cpu_us_event": 1e6 * used / max(1, events),
        "stores_us_event": 1e6 * stored_s / max(1, events),
        "cores": used / took,
        "failed": float(tally.failed),
    }
    await _end(loops)
    return figures


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Let what is under way finish, but not for long."""
    _, late = await asyncio.wait(tasks, timeout=END_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _hold(aim: Aim, request: bytes, after_s: float, tally: Tally) -> None:
    await asyncio.sleep(after_s)
    started = perf_counter()
    line = await client.connect(aim.port)
    connect_s = perf_counter() - started
    try:
        answer = await line.ask(request)
    except OSError:  # the server gave this stream up; it stays out of the count of those served
        tally.failed += 1
    else:
        tally.see(answer, is_stream(bodies.HELD_DELTAS))
        tally.firsts[-1:] = [first + connect_s for first in tally.firsts[-1:]]
    finally:
        tally.events += (
            line.events
        )  # a stream cut short has cost the server its events all the same
        line.close()


async def held(aim: Aim, *, count: int) -> Figures:
    """Many streams open at once, two deltas a second each: who is served, and what it weighs."""
    tally = Tally()
    request = aim.request(bodies.small(bodies.HELD))
    before_kib, _ = proc.memory(aim.pid)
    cpu_s, deadline = proc.cpu_s(aim.pid), perf_counter() + HELD_DEADLINE_S
    streams = [
        asyncio.create_task(_hold(aim, request, RAMP_S * number / count, tally))
        for number in range(count)
    ]
    most_kib = most_threads = 0
    late: set[asyncio.Task[None]] = set(streams)
    while late and perf_counter() < deadline:
        _, late = await asyncio.wait(late, timeout=SAMPLE_S)
        kib, threads = proc.memory(aim.pid)
        most_kib, most_threads = max(most_kib, kib), max(most_threads, threads)
    used = proc.cpu_s(aim.pid) - cpu_s
    for task in late:
        task.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    return {
        "served": float(len(tally.totals)),
        "served_share": len(tally.totals) / count,
        "ttft_p50_ms": percentile(tally.firsts, 0.50),
        "ttft_p95_ms": percentile(tally.firsts, 0.95),
        "ttft_p99_ms": percentile(tally.firsts, 0.99),
        "growth_kib": (most_kib - before_kib) / count,
        "threads": float(most_threads),
        "cpu_us_event": 1e6 * used / max(1, tally.events),
    }


async def idle(aim: Aim) -> Figures:
    """Fill what is filled once, in all workers, then weigh the server at rest."""
    await calm(aim.pid)  # the last of several workers may still be starting
    failed = sum(await asyncio.gather(*[_try(aim) for _ in range(CONNECTIONS)]))
    await calm(aim.pid)
    kib, threads = proc.memory(aim.pid)
    return {
        "mib": kib / 1024,
        "worker_mib": proc.largest(aim.pid) / 1024,
        "threads": float(threads),
        "failed": float(failed),
    }


async def _try(aim: Aim) -> int:
    """Some requests of each kind, on one connection; how many failed."""
    line = await client.connect(aim.port)
    failed = 0
    for body, good in (
        (bodies.small(), is_message),
        (bodies.large(), is_message),
        (bodies.small(bodies.BRISK), is_stream(bodies.STREAM_DELTAS)),
    ):
        for _ in range(TRIES):
            failed += not good(await line.ask(aim.request(body)))
    line.close()
    return failed


async def calm(pid: int) -> None:
    """Wait until the server has come to rest, so that one scenario does not pay for another."""
    deadline = perf_counter() + CALM_DEADLINE_S
    used = proc.cpu_s(pid)
    while perf_counter() < deadline:
        await asyncio.sleep(CALM_S)
        before, used = used, proc.cpu_s(pid)
        if used - before < CALM_SHARE * CALM_S:
            return


async def play(scenario: str, aim: Aim, seconds: float) -> Figures:
    if scenario == "idle":
        return await idle(aim)
    if scenario == "held":
        figures = await held(aim, count=HELD)
        await calm(aim.pid)
        return figures
    body, good = {
        "small": (bodies.small(), is_message),
        "large": (bodies.large(), is_message),
        "stream": (bodies.small(bodies.STREAM), is_stream(bodies.STREAM_DELTAS)),
    }[scenario]
    return await closed_loop(aim, body, good, seconds=seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", choices=["idle", "held", "small", "large", "stream"])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True, help="whose processor time is read")
    parser.add_argument("--key", default="none")
    parser.add_argument("--stores", type=int, nargs="*", default=[], help="the same, told apart")
    parser.add_argument("--seconds", type=float, default=3.0)
    given = parser.parse_args()
    aimed = Aim(port=given.port, pid=given.pid, key=given.key, stores=tuple(given.stores))
    print(json.dumps(uvloop.run(play(given.scenario, aimed, given.seconds))))
