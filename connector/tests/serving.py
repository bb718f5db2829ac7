"""The built-in server as the connector keeps it."""

import asyncio
from collections.abc import Callable

import anyio
import pytest

from opscenter_connector.builtinserver import BuiltinServer
from opscenter_connector.frames import Announced
from opscenter_connector.happenings import Happening
from opscenter_connector.settings import LocalSpec
from tests.allowed import WITHIN_S


class Serving:
    """The built-in server, as the connector keeps it."""

    def __init__(self, spec: LocalSpec, *, alone: bool = False) -> None:
        self.announced: list[Announced] = []
        self._news = asyncio.Event()
        self.told: list[Happening] = []
        self.server = BuiltinServer(spec, self._announce, self.told.append, alone=alone)
        self._task: asyncio.Task[None]

    def _announce(self, announced: Announced) -> None:
        self.announced.append(announced)
        self._news.set()

    async def until(self, fits: Callable[[Announced], bool]) -> Announced:
        with anyio.fail_after(WITHIN_S):
            while not (fitting := [one for one in self.announced if fits(one)]):
                self._news.clear()
                await self._news.wait()
        return fitting[-1]

    def start(self) -> None:
        self._task = asyncio.create_task(self.server.run())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def __aenter__(self) -> BuiltinServer:
        self.start()
        with anyio.fail_after(WITHIN_S):
            await self.server.ready(WITHIN_S)
        return self.server

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def need_sandbox(server: BuiltinServer) -> None:
    """Skip a test of what commands do where none is run: macOS, a kernel without Landlock.

    `make real` has the sandbox's own tests, and fails where there is none.
    """
    if server.layer == "none":
        pytest.skip("no sandbox holds here")


def names(server: BuiltinServer) -> set[str]:
    return {str(tool["name"]) for tool in server.announced.tools}
