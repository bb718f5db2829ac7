"""Does what `work` decides: writes, runs, stops, sends. Many calls at once, one journal."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import anyio
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from opscenter_connector import actions, cancelling, frames, happenings, journal, outcomes
from opscenter_connector.happenings import Happening
from opscenter_connector.held import CANCELLED, INTERRUPTED, not_begun
from opscenter_connector.journal import End, Journal
from opscenter_connector.localserver import Progressed
from opscenter_connector.outbox import Outbox
from opscenter_connector.outcomes import INTERNAL_ERROR, METHOD_NOT_FOUND
from opscenter_connector.policing.admission import START_WITHIN_S, Admission, NotLetError
from opscenter_connector.servers import LostError, NotRunningError, Servers
from opscenter_connector.work import Work

log = logging.getLogger(__name__)

PROGRESS_EVERY_S = (
    0.25  # a person sees no more; the gateway takes 200 frames a second from all calls
)
MAX_PROGRESS_TEXT = 500  # characters
LAST_ACKS_S = 2.0  # at the end, for the answers to the last results
MAX_RESULT_BYTES = 1024 * 1024  # until the gateway has said what it takes


@dataclass(slots=True)
class Running:
    """A call that runs, and what ends it."""

    scope: anyio.CancelScope
    stopped: bool = False


class Runner:
    """The calls of this machine, whatever session there is."""

    def __init__(
        self,
        work: Work,
        kept: Journal,
        servers: Servers,
        admission: Admission,
        told: Callable[[Happening], None],
    ) -> None:
        self.work = work
        self.max_result_bytes = MAX_RESULT_BYTES
        self._journal = kept
        self._servers = servers
        self._admission = admission
        self._told = told
        self._outbox: Outbox | None = None
        self._running: dict[int, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._do: dict[type, Callable[[Any], None]] = {
            actions.Judge: admission.judge,
            actions.Begin: self._begin,
            actions.Run: self._start,
            actions.Stop: self._stop_one,
            actions.Keep: self._keep,
            actions.Forget: self._forget,
        }
        self._hear: dict[type, Callable[[Any], None]] = {
            frames.Call: lambda said: self.perform(work.handed_out(said)),
            frames.Started: lambda said: self.perform(work.started(said)),
            frames.Denied: self._denied,
            frames.Ack: lambda said: self.perform(work.acknowledged(said)),
            frames.Renewed: lambda said: self.perform(work.renewed(said)),
            frames.Cancel: lambda said: self.perform(work.cancel(said.id, said.fence)),
            frames.Asked: admission.take,
            frames.Settled: admission.take,
            frames.Refused: self._refused,
        }
        admission.serve(work, self.perform)
        for entry in kept.entries:
            self.perform(work.recover(entry))

    def attach(self, outbox: Outbox) -> None:
        """A session is there: say in it all that has had no answer."""
        self._outbox = outbox
        self.perform(self.work.reopened())
        self._admission.reopened()

    def detach(self, outbox: Outbox) -> None:
        if self._outbox is outbox:
            self._outbox = None

    def send(self, frame: frames.FromConnector) -> None:
        """Now or never: what matters is said again in the next session."""
        if self._outbox is not None:
            self._outbox.put(frame)

    def take(self, frame: frames.FromGateway) -> None:
        """What the gateway said."""
        if (hear := self._hear.get(type(frame))) is not None:
            hear(frame)

    def _denied(self, said: frames.Denied) -> None:
        self.perform(self.work.denied(said))
        self._admission.take(said)

    def _refused(self, said: frames.Refused) -> None:
        self._told(
            happenings.Refused(what=said.what, name=said.name, field=said.field, reason=said.reason)
        )

    def tick(self) -> None:
        """As often as leases are to be renewed."""
        self.perform(self.work.tick())
        self._admission.tick()

    def perform(self, todo: Iterable[actions.Action]) -> None:
        """In this order. Lines take their place in the journal at once; what takes time goes on."""
        for action in todo:
            if isinstance(action, frames.FromConnector):
                self.send(action)
            elif isinstance(action, Happening):
                self._told(action)
            else:
                self._do[type(action)](action)
        self._news.set()

    async def stop(self, within_s: float) -> None:
        """Take no more; what runs has a moment to end. What is left is reported as unknown."""
        self._told(happenings.Stopping(running=self.work.running, within_s=within_s))
        self.perform(self.work.stop())
        await self._quiet(within_s)
        self.perform(self.work.abandon())
        await self._quiet(LAST_ACKS_S)

    async def aclose(self) -> None:
        """Leave everything as it is; the journal knows."""
        await self._admission.aclose()
        await cancelling.ended(*self._tasks)

    async def _quiet(self, within_s: float) -> None:
        """Until nothing is left; without a session, until nothing runs."""
        with anyio.move_on_after(within_s):
            while not self.work.empty and (self._outbox is not None or self.work.running):
                self._news.clear()
                await self._news.wait()

    # What `work` asks for.

    def _begin(self, action: actions.Begin) -> None:
        call = action.call
        line = journal.begun(call.id, call.fence, action.by)

        def written(durable: "asyncio.Future[None]") -> None:
            refusal = self._trouble(durable)
            self.perform(self.work.written(call.id, call.fence, refusal=refusal))

        self._journal.write(line).add_done_callback(written)

    def _keep(self, action: actions.Keep) -> None:
        def written(durable: "asyncio.Future[None]") -> None:
            self._trouble(durable)
            self.perform(self.work.kept(action.id, action.end))

        line = journal.ended(action.id, action.fence, action.end)
        self._journal.write(line).add_done_callback(written)

    def _forget(self, action: actions.Forget) -> None:
        self._journal.note(journal.over(action.id, action.fence, ran=action.ran))

    def _trouble(self, durable: "asyncio.Future[None]") -> str:
        if durable.cancelled() or (error := durable.exception()) is None:
            return ""
        self._told(happenings.Trouble(what="journal", reason=str(error)))
        return f"the connector cannot write its journal ({error})"

    def _start(self, action: actions.Run) -> None:
        task = asyncio.create_task(self._run(action))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop_one(self, action: actions.Stop) -> None:
        running = self._running.get(action.number)
        if running is not None:
            running.stopped = True
            running.scope.cancel()

    async def _run(self, action: actions.Run) -> None:
        """One call, from the gateway's word to its end."""
        call, began = action.call, time.monotonic()
        limit_s = self._limit_s(action)
        self._told(
            happenings.CallStarted(
                id=call.id,
                server=call.server,
                tool=call.tool,
                has_effects=call.has_effects,
                limit_s=limit_s,
            )
        )
        running = Running(anyio.CancelScope(deadline=anyio.current_time() + limit_s))
        self._running[action.number] = running
        try:
            end = outcomes.timed_out(limit_s)
            with running.scope:
                end = await self._asked(call)
            if running.scope.cancelled_caught and running.stopped:
                end = CANCELLED
            end, note = await outcomes.fit(end, self.max_result_bytes)
        finally:
            del self._running[action.number]
        self._told(outcomes.told(call, end, time.monotonic() - began, note))
        self.perform(self.work.ended(call.id, action.number, end))

    def _limit_s(self, action: actions.Run) -> float:
        try:
            spec = self._servers.get(action.call.server).spec
        except NotRunningError:
            return action.remaining_s
        return min(action.remaining_s, spec.call_limit_s)

    async def _asked(self, call: frames.Call) -> End:
        """The local server's answer, or why there is none."""
        if call.method != "tools/call" or not isinstance(call.params.get("name"), str):
            return outcomes.error(
                METHOD_NOT_FOUND, f"this connector does not know {call.method[:50]}"
            )
        try:
            server = self._servers.get(call.server)
            await server.ready(START_WITHIN_S)
            self._admission.begins(call)
            result = await server.call(
                call.params, self._progress_of(call), start_within_s=START_WITHIN_S
            )
        except (NotRunningError, NotLetError) as error:
            return not_begun(str(error), decision=getattr(error, "decision", ""))
        except LostError:
            return INTERRUPTED
        except MCPError as error:
            return outcomes.error(error.code, error.message, outcomes.theirs(error.data))
        except ValidationError:
            return outcomes.error(
                INTERNAL_ERROR, "the tool ran, but its answer is no result of MCP"
            )
        except Exception:  # after the request was sent, nobody knows
            log.exception("a call of %s ended in a way that was not foreseen", call.server)
            return INTERRUPTED
        if result.get("resultType", "complete") != "complete":
            return outcomes.error(
                INTERNAL_ERROR, "the tool asks for more input, and here is nobody to ask"
            )
        return End(outcome="done", body=result)

    def _progress_of(self, call: frames.Call) -> Progressed:
        last_s = float("-inf")

        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            nonlocal last_s
            if not math.isfinite(progress):
                return  # servers may say anything; JSON cannot
            if total is not None and not math.isfinite(total):
                total = None
            now_s = time.monotonic()
            if now_s - last_s < PROGRESS_EVERY_S and progress != total:
                return
            last_s = now_s
            text = None if message is None else message[:MAX_PROGRESS_TEXT]
            self.perform(self.work.progressed(call.id, progress, total, text))

        return progressed
