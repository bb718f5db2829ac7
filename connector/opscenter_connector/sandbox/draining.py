"""A command that runs: read what it says, within bounds, and wait until nothing of it is left."""

import asyncio
import os

import anyio

from opscenter_connector.confined.order import BROKEN, Report
from opscenter_connector.sandbox.layers import Ended, Limits, Outcome, SandboxError
from opscenter_connector.sandbox.nursery import KILL_S, Child
from opscenter_connector.sandbox.output import Kept

CHUNK_BYTES = 64 * 1024
LAST_OUTPUT_S = 1.0  # nothing writes any more; what is still in a pipe is read at once


class Draining:
    """One command."""

    def __init__(self, child: Child, limits: Limits) -> None:
        self._child = child
        self._most = limits.output_bytes
        self._out, self._err = Kept(limits.kept_bytes), Kept(limits.kept_bytes)
        self._babbled = False

    async def outcome(self) -> Outcome:
        """When it is over. If we are cancelled it is ended before we go."""
        reading = [
            asyncio.create_task(self._read(self._child.out, self._out)),
            asyncio.create_task(self._read(self._child.err, self._err)),
        ]
        try:
            report = await self._report()
            await asyncio.wait(reading, timeout=LAST_OUTPUT_S)
        finally:
            for task in reading:
                task.cancel()
            # Where we are cancelled any other wait ends at once, and what is open stays open.
            with anyio.CancelScope(shield=True):
                await asyncio.gather(*reading, return_exceptions=True)
            self._child.close()
        return self._told(report)

    async def _report(self) -> Report:
        waiting = asyncio.create_task(self._child.report())
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            self._child.stop()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([waiting], timeout=KILL_S)
            raise
        finally:
            waiting.cancel()

    async def _read(self, fd: int, kept: Kept) -> None:
        """To its end. The pipe is closed with the transport."""
        reader = asyncio.StreamReader(limit=CHUNK_BYTES)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
        )
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                kept.take(chunk)
                if self._out.total + self._err.total > self._most and not self._babbled:
                    self._babbled = True
                    self._child.stop()
        finally:
            transport.close()

    def _told(self, report: Report) -> Outcome:
        if report.ended == BROKEN:
            raise SandboxError(f"the command could not be run: {report.detail}")
        return Outcome(
            stdout=self._out.text(),
            stderr=self._err.text(),
            returncode=report.status,
            ended=Ended.OUTPUT if self._babbled else Ended(report.ended),
            left_out_bytes=self._out.left_out + self._err.left_out,
        )
