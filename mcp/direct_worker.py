"""Runs the calls of servers that the gateway reaches itself, out of the queue of all calls."""

import asyncio
import logging
import random
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from accounts.reads import DatabaseAwayError
from mcp import bell, calls, direct, direct_calls, direct_rows
from mcp.calls import Claimed, Denial, Holder, SupersededError
from mcp.direct_calls import Ended
from mcp.direct_ears import Ears
from mcp.direct_rows import EPOCH
from mcp.registry import plain
from mcp.remote_wire import Json
from mcp.remotes import Remotes
from mcp.states import Outcome, Verdict
from mcp.threads import off_loop

log = logging.getLogger(__name__)

MOST = 64  # calls at once in a process: those of eight users who use all that they may
IDLE_S = 1.0  # a lost bell costs at most this
PROGRESS_S = 0.5  # between two writes of one call's progress; a server may tell of each byte
MOST_PROGRESS = 1e15  # bytes, rows, whatever it counts
LISTS = 4  # servers asked for their tools at once
END_S = 5.0  # to let calls end at a stop; who waits for one was waited for already
FINISH_TRIES = 60  # to write a result down while the database is away
FINISH_AGAIN_S = 1.0


@dataclass(slots=True, eq=False)
class _Running:
    """One call that this process holds."""

    holder: Holder
    call: Claimed
    task: asyncio.Task[None] | None = None
    stopped_as: Outcome | None = None
    is_asking: bool = False  # only then can its task be cancelled: else a row would stay behind
    progress: dict[str, Any] | None = None  # not written yet
    telling: asyncio.Task[None] | None = None


class Worker:
    """One in each process, from `start` to `end`; or step by step."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._running: dict[UUID, _Running] = {}
        self._remotes = Remotes()
        self._listing: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work."""
        self._working = asyncio.create_task(self._work())

    async def end(self, within_s: float = END_S) -> None:
        """Begin nothing more, let what runs end within this time, and stop the rest.

        It is written down how each call ended.
        """
        self._stop.set()
        if self._working is not None:
            await self._working
        for task in self._listing:
            task.cancel()
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=within_s)
        for call_id in list(self._running):
            self._stop_call(call_id, Outcome.INTERRUPTED)
        if tasks := self._tasks():
            await asyncio.wait(tasks, timeout=END_S)
        await self._remotes.close()

    async def _work(self) -> None:
        ears, loop = Ears(), asyncio.get_running_loop()
        look_at = loop.time()
        stopping = asyncio.create_task(self._stop.wait())
        try:
            while not self._stop.is_set():
                try:
                    await self.step()
                    if loop.time() >= look_at:
                        look_at = loop.time() + calls.RENEW_S
                        await self.look_after()
                        await ears.refresh()
                except DatabaseAwayError:
                    pass  # it comes back, or the leases end
                except Exception:  # a defect of ours must not stop everybody's calls
                    log.exception("a step of the worker for MCP servers failed")
                hearing = asyncio.create_task(ears.wait(IDLE_S))
                await asyncio.wait({stopping, hearing}, return_when=asyncio.FIRST_COMPLETED)
                hearing.cancel()
        finally:
            stopping.cancel()
            ears.close()

    async def step(self) -> int:
        """Stop what should stop and begin what is due; how many began."""
        if self._running:
            for call_id in await off_loop(direct_rows.to_cancel)(list(self._running)):
                self._stop_call(call_id, Outcome.CANCELLED)
        before = len(self._running)
        if before >= self._most:
            return 0
        due = await off_loop(direct_rows.due)()
        random.shuffle(due)  # nobody is always last
        for connector_id, organization_id in due:
            holder = Holder(connector_id=connector_id, organization_id=organization_id, epoch=EPOCH)
            free = self._most - len(self._running)
            if free <= 0:
                break
            with suppress(SupersededError):  # the connector was removed meanwhile
                for call in await off_loop(calls.claim_begun)(holder, free):
                    self._begin(_Running(holder, call))
        return len(self._running) - before

    async def look_after(self) -> None:
        """Renew what is held, ask a few servers for their tools again, close idle connections."""
        by_holder: dict[Holder, list[tuple[UUID, int]]] = {}
        for running in self._running.values():
            held = by_holder.setdefault(running.holder, [])
            held.append((running.call.id, running.call.fence))
        for holder, held in by_holder.items():
            with suppress(SupersededError):  # nobody wants the results any more
                renewal = await off_loop(calls.renew)(holder, held)
                for call_id, _ in renewal.cancel:
                    self._stop_call(call_id, Outcome.CANCELLED)
                for call_id, _ in renewal.lost:
                    self._lose(call_id)
        self._remotes.sweep()
        for server in await off_loop(direct_rows.take_stale)(LISTS - len(self._listing)):
            task = asyncio.create_task(_list_anew(server))
            self._listing.add(task)
            task.add_done_callback(self._listing.discard)

    def _tasks(self) -> set[asyncio.Task[None]]:
        return {running.task for running in self._running.values() if running.task is not None}

    def _begin(self, running: _Running) -> None:
        self._running[running.call.id] = running
        running.task = asyncio.create_task(self._run(running))

    def _stop_call(self, call_id: UUID, outcome: Outcome) -> None:
        running = self._running.get(call_id)
        if running is None or running.stopped_as is not None:
            return
        running.stopped_as = outcome
        if running.is_asking and running.task is not None:
            running.task.cancel()

    def _lose(self, call_id: UUID) -> None:
        """It is not ours any more. What has effects goes on: its late result is still taken."""
        running = self._running.get(call_id)
        if running is not None and not running.call.has_effects:
            self._stop_call(call_id, Outcome.INTERRUPTED)

    async def _run(self, running: _Running) -> None:
        call = running.call
        try:
            remaining_ms: int | Denial = call.remaining_ms
            if not call.begun:
                remaining_ms = await off_loop(calls.start)(running.holder, call.id, call.fence)
            if isinstance(remaining_ms, Denial):
                return  # somebody cancelled it, or it came too late
            ended = await self._ended(running, remaining_ms)
            if ended is not None:
                await self._finish(running, ended)
        except (DatabaseAwayError, SupersededError) as error:
            log.warning("call %s could not be begun: %s", call.id, error)
        finally:
            self._running.pop(call.id, None)

    async def _ended(self, running: _Running, remaining_ms: int) -> Ended | None:
        """How it ended; None where it is left to the end of its lease, and runs again then."""
        call = running.call

        def told(progress: Json) -> None:
            running.progress = _sensible(progress) or running.progress
            if running.progress and (running.telling is None or running.telling.done()):
                running.telling = asyncio.create_task(_tell(running))

        if running.stopped_as is not None:
            return _stopped(running, may_have_run=False)
        running.is_asking = True
        try:
            return await direct_calls.run(
                self._remotes, running.holder.connector_id, call, remaining_ms, told
            )
        except asyncio.CancelledError:
            if running.stopped_as is None:
                raise
            return _stopped(running, may_have_run=True)
        except Exception:  # a defect of ours; the caller must still be told
            log.exception("a call of an MCP server failed in the gateway")
            reason = "The gateway could not finish the call."
            return direct_calls.unanswered(call, reason, may_have_run=True)
        finally:
            running.is_asking = False
            if running.telling is not None:
                running.telling.cancel()

    async def _finish(self, running: _Running, ended: Ended) -> None:
        call = running.call
        for _ in range(FINISH_TRIES):
            try:
                verdict = await off_loop(calls.finish)(
                    running.holder, call.id, call.fence, ended.outcome, ended.body
                )
            except DatabaseAwayError:
                await asyncio.sleep(FINISH_AGAIN_S)
                continue
            if verdict is not Verdict.ACCEPTED:
                log.info("the result of call %s came to nothing: %s", call.id, verdict)
            bell.ring_call(call.id)
            return
        log.error("the result of call %s could not be written down", call.id)


def _stopped(running: _Running, *, may_have_run: bool) -> Ended | None:
    if running.stopped_as is Outcome.CANCELLED:
        return Ended(Outcome.CANCELLED)
    if not running.call.has_effects:
        return None  # another process takes it
    reason = "The gateway stopped before it asked."
    return direct_calls.unanswered(running.call, reason, may_have_run=may_have_run)


async def _tell(running: _Running) -> None:
    """Write progress down and ring; again as long as there is more of it."""
    call = running.call
    while (progress := running.progress) is not None:
        running.progress = None
        with suppress(DatabaseAwayError, SupersededError):  # the next will do
            if await off_loop(calls.note_progress)(running.holder, call.id, call.fence, progress):
                bell.ring_call(call.id, bell.PROGRESS, progress)
        await asyncio.sleep(PROGRESS_S)


def _sensible(params: Json) -> dict[str, Any] | None:
    """A server's progress as the tunnel tells it; None where it is none."""
    found = {
        name: value
        for name in ("progress", "total")
        if isinstance(value := params.get(name), int | float)
        and not isinstance(value, bool)
        # Neither NaN nor a number that JSON cannot hold.
        and -MOST_PROGRESS < value < MOST_PROGRESS
    }
    if "progress" not in found:
        return None
    message = params.get("message")
    if isinstance(message, str) and message:
        return found | {"message": plain(message[:500])}
    return found


async def _list_anew(server: direct_rows.Reached) -> None:
    with suppress(DatabaseAwayError):  # in five minutes again
        await direct.list_anew(server)
