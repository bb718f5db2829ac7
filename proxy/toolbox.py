"""The tools that the gateway runs for one request: how a model knows them, and how they are run."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import msgspec

from accounts import auth
from accounts.principal import CALLBACK, Principal
from accounts.reads import DatabaseAwayError
from mcp import tools, visiting
from mcp.direct import NotRegisteredError
from mcp.tools import RefusedError
from proxy.adapters.language import MachineTool
from proxy.toolsets import MAX_TOOLS, Server, Wanted
from proxy.wire import ownblocks, toolresults
from proxy.wire.body import BodyError
from proxy.wire.rootschema import plain_root
from proxy.wire.turn import Named, Use

ID_CHARS = 64  # of a call's id in the queue
UNKNOWN = "Whether the tool ran is not known."
NO_JSON = "The arguments were not a JSON object. Call the tool again with valid JSON."

NOT_YOURS = "You may not use this tool. Say what should be done with it; another one will."

log = logging.getLogger(__name__)
Block = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool as a model is shown it, and where it is."""

    named: Named
    server: Server
    shown: Block  # an entry of `tools`


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a call, in text for the client and in blocks for the model."""

    use: Use
    text: str
    is_error: bool
    images: Sequence[Block] = ()

    @property
    def block(self) -> Block:
        """The `tool_result` that the model is told."""
        text: list[Block] = [{"type": "text", "text": self.text}] if self.text else []
        found = {
            "type": "tool_result",
            "tool_use_id": self.use.id,
            "content": [*text, *self.images],
        }
        return found | {"is_error": True} if self.is_error else found


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """All of them, by the name that the model knows."""

    tools: Mapping[str, Tool]
    listings: Mapping[str, Sequence[Block]] = field(default_factory=dict)  # by server
    missing: Sequence[str] = ()  # why tools that the operator promised are not there

    @property
    def names(self) -> Mapping[str, Named]:
        """What each of them is to the client."""
        return {name: tool.named for name, tool in self.tools.items()}

    @property
    def of_machines(self) -> tuple[MachineTool, ...]:
        """Those on the user's machines, for an upstream that may run them by itself."""
        return tuple(
            MachineTool(
                name=name,
                server=tool.named.server,
                tool=tool.named.tool,
                served=tool.server.served,
                machine=tool.server.connector,
            )
            for name, tool in self.tools.items()
            if tool.server.is_tunnel
        )

    def name_of(self, server: str, tool: str) -> str:
        """The name that the model knows, also of a tool that is no longer here."""
        named = Named(server=server, tool=tool)
        known = (name for name, one in self.tools.items() if one.named == named)
        return next(known, None) or ownblocks.composed_name(server, tool)

    async def run(
        self, principal: Principal, use: Use, request_id: str, step: UUID | None = None
    ) -> Result:
        """Run one call of a step. Whoever cancels this stops it. Every failure is its result."""
        try:
            return await self._run(principal, use, request_id, step)
        except RefusedError as refused:
            return Result(use=use, text=str(refused), is_error=True)
        except DatabaseAwayError as away:
            return Result(use=use, text=f"{away} {UNKNOWN}", is_error=True)
        except Exception:  # the model goes on without it, and is told
            log.exception("%s: a tool could not be run", request_id)
            return Result(use=use, text=f"The gateway failed. {UNKNOWN}", is_error=True)

    async def _run(
        self, principal: Principal, use: Use, request_id: str, step: UUID | None
    ) -> Result:
        if use.given is None:
            return Result(use=use, text=NO_JSON, is_error=True)
        tool = self.tools.get(use.name)
        if tool is None:
            return Result(use=use, text=NOT_YOURS, is_error=True)
        ended = await tools.run(
            principal,
            server=tool.server.served,
            tool=tool.named.tool,
            arguments=use.given,
            request_id=request_id,
            tool_use_id=ownblocks.short_id(use.id, ID_CHARS),
            machine=tool.server.connector,
            step=step,
        )
        return Result(
            use=use,
            text=toolresults.text_of(ended.result),
            is_error=ended.is_error or ended.result.get("isError") is True,
            images=toolresults.images_of(ended.result),
        )


async def opened(
    principal: Principal, wanted: Sequence[Wanted], taken: Collection[str] = ()
) -> Toolbox:
    """Ask each server what it has. `taken` are the names of the client's own tools.

    Raises BodyError where a server that the request names is not there; one that the operator has
    set is only missing. Raises accounts.auth.ScopeError, accounts.reads.DatabaseAwayError.
    """
    found: dict[str, Tool] = {}
    listings: dict[str, Sequence[Block]] = {}
    missing = []
    for each in wanted:
        try:
            one = await _reached(principal, each)
            listed = await _listed(principal, one)
        except RefusedError as refused:
            if each.server.where:
                raise BodyError(f"{each.server.where}: {refused}") from refused
            missing.append(str(refused))
            continue
        if one.pinned is None:
            listings[one.server.name] = listed
        for entry in _shown(one, listed):
            name = ownblocks.composed_name(one.server.name, entry["name"], {*taken, *found})
            if name in taken or name in found:
                raise BodyError(f"tools: two tools would be named {name!r} (tool_name_conflict)")
            named = Named(server=one.server.name, tool=entry["name"])
            found[name] = Tool(named=named, server=one.server, shown=entry | {"name": name})
    if len(found) > MAX_TOOLS:
        raise BodyError(f"tools: the toolsets hold {len(found)} tools, {MAX_TOOLS} at most")
    return Toolbox(tools=found, listings=listings, missing=missing)


async def _reached(principal: Principal, wanted: Wanted) -> Wanted:
    """What is wanted of a server with an address, now that the gateway knows it by a name.

    Raises BodyError for one that the request names, RefusedError for others.
    """
    server = wanted.server
    if CALLBACK not in principal.scopes:  # as for /api/mcp/execute: a model must not be the way in
        if server.where:
            auth.require(principal, CALLBACK)
        raise RefusedError(
            "no_scope",
            f"This API key lacks the scope {CALLBACK}, so no tools run: /portal/keys/ makes keys.",
        )
    if server.is_tunnel:
        return wanted
    try:
        name = await visiting.visited(principal, server.url, server.token)
    except NotRegisteredError as error:
        if not server.where:
            return wanted  # `_listed` says that it is missing
        field = "authorization_token" if error.field == "credential" else "url"
        raise BodyError(f"{server.where}.{field}: {error}") from error
    return replace(wanted, server=replace(server, served=name))


async def _listed(principal: Principal, wanted: Wanted) -> Sequence[Block]:
    """The definitions of a server's tools, or those that are pinned."""
    if wanted.pinned is not None:
        return [dict(one) for one in wanted.pinned]
    server = wanted.server
    offered = await tools.offered_by(principal, server.served or server.url, server.connector)
    return [
        {"name": one.tool, "description": one.description, "input_schema": one.input_schema}
        for one in offered
    ]


def _shown(wanted: Wanted, listed: Sequence[Block]) -> list[Block]:
    """What the model is shown of them."""
    shown = []
    for one in listed:
        setting = wanted.setting(one["name"])
        if not setting.enabled:
            continue
        description = one.get("description")
        shown.append(
            {
                "name": one["name"],
                "description": description if isinstance(description, str) else "",
                "input_schema": plain_root(one["input_schema"]),
                **({"defer_loading": True} if setting.defer_loading else {}),
            }
        )
    if shown and wanted.cache_control is not None:
        shown[-1]["cache_control"] = wanted.cache_control
    return shown


def entries(toolbox: Toolbox, others: Sequence[msgspec.Raw]) -> list[Any]:
    """The `tools` of a request: the client's own first, for an upstream's cache."""
    return [*others, *(tool.shown for tool in toolbox.tools.values())]
