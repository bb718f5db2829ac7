"""The built-in server itself: checks what it is asked, does it, and answers whatever happens."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from opscenter_connector.local import (
    checking,
    editing,
    globbing,
    grepping,
    listing,
    reading,
    writing,
)
from opscenter_connector.local.answers import Answer, refusal
from opscenter_connector.local.defining import Tool
from opscenter_connector.local.errand import Errand
from opscenter_connector.local.mistakes import ToolError, explained
from opscenter_connector.local.roots import Roots

log = logging.getLogger(__name__)

TOOLS: tuple[Tool, ...] = (
    reading.TOOL,
    writing.TOOL,
    editing.TOOL,
    globbing.TOOL,
    grepping.TOOL,
    listing.TOOL,
)


class Builtin:
    """The tools of the server `local`, for these folders. `layer` is what holds commands."""

    def __init__(self, roots: Roots, tools: Sequence[Tool] = TOOLS, *, layer: str = "none") -> None:
        self.roots = roots
        self.layer = layer
        self._tools = {tool.name: tool for tool in tools}
        self.definitions = [self._defined(tool) for tool in tools]
        self._checks = {tool.name: checking.check_of(tool) for tool in tools}

    async def call(self, name: str, arguments: Mapping[str, Any], *, within_s: float) -> Answer:
        """The result, as MCP has it. What the tool cannot do is a result that says so."""
        done = await self._answered(name, arguments, within_s)
        done["_meta"] = {"opscenter/sandbox": self.layer} | done.get("_meta", {})
        return done

    async def _answered(self, name: str, arguments: Mapping[str, Any], within_s: float) -> Answer:
        try:
            tool = self._tools[name]
        except KeyError:
            there = ", ".join(self._tools)
            return refusal(
                f"there is no tool {name[: checking.MAX_SAID]!r} here; there are {there}"
            )
        if wrong := checking.wrong(tool, self._checks[name], arguments):
            return refusal(wrong)
        errand = Errand(roots=self.roots, until_s=time.monotonic() + within_s)
        try:
            return await _done(tool, errand, arguments)
        except ToolError as error:
            return refusal(str(error))
        except OSError as error:
            log.debug("%s was refused by the system", name, exc_info=True)
            return refusal(str(explained(error, str(arguments.get("path", "it")))))

    def _defined(self, tool: Tool) -> dict[str, Any]:
        folders = ", ".join(map(str, self.roots.paths))
        described = f"{tool.description} Allowed folders: {folders}."
        return tool.definition | {"description": described}


async def _done(tool: Tool, errand: Errand, arguments: Mapping[str, Any]) -> Answer:
    """One in a thread that only reads is left to itself when nobody waits; others are awaited."""
    try:
        if tool.wait is not None:
            return await tool.wait(errand, arguments)
        if tool.run is None:
            raise TypeError(f"{tool.name} has nothing to do")
        return await anyio.to_thread.run_sync(
            tool.run, errand, arguments, abandon_on_cancel=not tool.changes
        )
    finally:
        errand.called_back.set()
